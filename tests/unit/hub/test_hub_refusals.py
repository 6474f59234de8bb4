"""What goes wrong with the hub is said by name, with a cure, and never with the token."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from pmpctl.errors import (
    ExitStatus,
    HubRateLimited,
    HubTokenRefused,
    HubUnreachable,
    ModelConfigInvalid,
    ModelConfigMissing,
    ModelGated,
    ModelNotFound,
    ModelWithoutSafetensors,
    PmpctlError,
    WeightsDamaged,
)
from tests.support import find_free_port
from tests.unit.hub.checkpoints import framed, index, one_file
from tests.unit.hub.conftest import Find
from tests.unit.hub.stub_hub import Fault, StubHub, running_hub

MODEL = "owner/model"
TOKEN = "hf_0123456789abcdefghij"
WEIGHTS = "model.safetensors"


@contextmanager
def refused(kind: type[PmpctlError], *words: str) -> Iterator[None]:
    """The error is of this kind, all of these words are in its message or cure, and no token is anywhere in it."""
    with pytest.raises(kind) as caught:
        yield
    said = f"{caught.value.message} {caught.value.cure}"
    assert [word for word in words if word not in said] == [], said
    assert "hf_0123456789" not in f"{said} {caught.value!r} {caught.value.__cause__!r}"


def test_a_model_that_does_not_exist_is_not_found(find: Find) -> None:
    with refused(ModelNotFound, "no model owner/model", "capitals", "set HF_TOKEN"):
        find(MODEL)
    assert ModelNotFound.exit_status == ExitStatus.INVALID


def test_a_private_model_names_the_token_that_could_not_see_it(hub: StubHub, find: Find) -> None:
    hub.known_tokens = {TOKEN}

    with refused(ModelNotFound, "the token in HF_TOKEN must belong to an account that may read it"):
        find(MODEL, HF_TOKEN=TOKEN)


def test_a_revision_that_does_not_exist_is_named(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, one_file())

    with refused(ModelNotFound, "no revision 'gptq/4bit'", "`revision`"):
        find(MODEL, "gptq/4bit")


def test_a_gated_model_without_a_token_asks_for_one(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, one_file()).gate = TOKEN

    with refused(ModelGated, "no token", f"{hub.url}/{MODEL}", "HF_TOKEN"):
        find(MODEL)
    assert ModelGated.exit_status == ExitStatus.NETWORK


def test_a_gated_model_whose_terms_are_not_accepted_names_the_token_used(
    hub: StubHub, find: Find, tmp_path: Path
) -> None:
    hub.known_tokens = {TOKEN}
    hub.add(MODEL, one_file()).gate = "somebody else's"
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    with refused(ModelGated, f"the token in {tmp_path}/token has no access", "Ask for access"):
        find(MODEL, HF_TOKEN_PATH=str(tmp_path / "token"))


def test_a_token_that_the_hub_does_not_know_is_said_to_be_the_cause(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, one_file())

    with refused(HubTokenRefused, "does not know the token in HF_TOKEN", "remove it"):
        find(MODEL, HF_TOKEN=TOKEN)


@pytest.mark.parametrize("value", [f"{TOKEN}\n{TOKEN}", f"{TOKEN} # mine", f"“{TOKEN}”"])
def test_what_cannot_be_a_token_is_never_sent(hub: StubHub, find: Find, value: str) -> None:
    with refused(HubTokenRefused, "HF_TOKEN cannot be a token"):
        find(MODEL, HF_TOKEN=value)
    assert hub.asked == []


def test_the_hub_is_asked_again_after_the_time_that_it_names(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, one_file())
    hub.faults = [Fault(429, {"Retry-After": "1"}), Fault(429, {"RateLimit": '"api";r=0;t=1'}), Fault(503)]

    assert find(MODEL).weights_bytes == 4096
    first, second, third, fourth = [asked.at_seconds for asked in hub.asked[:4]]
    assert second - first >= 1
    assert third - second >= 1
    assert fourth - third >= 0.5


def test_a_date_to_wait_for_is_understood(hub: StubHub, find: Find) -> None:
    hub.faults = [Fault(429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)})]

    with refused(HubRateLimited, "in 7"):
        find(MODEL)
    assert len(hub.asked) == 1


@pytest.mark.parametrize("said", ["soon", "-1", "Wed, 99 Foo"])
def test_a_time_to_wait_that_makes_no_sense_is_not_waited_for(hub: StubHub, find: Find, said: str) -> None:
    hub.add(MODEL, one_file())
    hub.faults = [Fault(503, {"Retry-After": said})]

    assert find(MODEL).weights_bytes == 4096


def test_a_hub_that_keeps_refusing_is_not_asked_for_ever(hub: StubHub, find: Find) -> None:
    hub.faults = [Fault(429, {"Retry-After": "0"})] * 9

    with refused(HubRateLimited, "too many requests", "a few minutes", "HF_TOKEN"):
        find(MODEL)
    assert len(hub.asked) == 4


def test_nobody_is_kept_waiting_for_an_hour(hub: StubHub, find: Find) -> None:
    hub.faults = [Fault(429, {"Retry-After": "3600"})]

    with refused(HubRateLimited, "in 3600 seconds"):
        find(MODEL)
    assert len(hub.asked) == 1


def test_a_hub_that_is_broken_is_unreachable(hub: StubHub, find: Find) -> None:
    hub.faults = [Fault(500, {"Retry-After": "0"})] * 4

    with refused(HubUnreachable, f"{hub.host} answers with HTTP 500"):
        find(MODEL)


def test_a_connection_that_breaks_is_made_again(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, one_file())
    hub.faults = [Fault(0, hangs_up=True)]
    hub.faults_of_store = [Fault(0, hangs_up=True), Fault(503)]

    assert find(MODEL).weights_bytes == 4096


def test_a_store_that_refuses_is_not_taken_for_a_missing_model(hub: StubHub, find: Find) -> None:
    hub.add(MODEL, one_file())
    hub.faults_of_store = [Fault(403)]

    with refused(HubUnreachable, f"{hub.store_url.removeprefix('http://')} answers with HTTP 403"):
        find(MODEL)


def test_a_port_where_nobody_listens_is_unreachable(find: Find) -> None:
    port = find_free_port()

    with refused(HubUnreachable, f"localhost:{port} cannot be reached", "Connection refused", "--offline"):
        find(MODEL, HF_ENDPOINT=f"http://localhost:{port}")


def test_a_name_that_does_not_resolve_is_unreachable(find: Find) -> None:
    with refused(HubUnreachable, "hub.invalid cannot be reached", "DNS"):
        find(MODEL, HF_ENDPOINT="https://hub.invalid")


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"{}", b'{"sha": "../..", "siblings": []}', b"[" * 9999]
)
def test_something_else_that_answers_in_the_hubs_place_is_noticed(hub: StubHub, find: Find, body: bytes) -> None:
    hub.faults = [Fault(200, body=body)]

    with refused(HubUnreachable, "does not answer as a model hub does", "HF_ENDPOINT"):
        find(MODEL)


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://huggingface.co", "https://", "https://[::1"])
def test_an_address_that_is_none_is_refused(find: Find, endpoint: str) -> None:
    with refused(HubUnreachable, "HF_ENDPOINT is not the address of a hub"):
        find(MODEL, HF_ENDPOINT=endpoint)


def test_proxy_settings_that_cannot_be_used_are_refused_without_their_password(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://user:hunter2@proxy")

    with pytest.raises(HubUnreachable, match="proxy settings") as caught:
        find(MODEL)
    assert "hunter2" not in f"{caught.value.message} {caught.value.cure}"


def test_a_proxy_that_refuses_is_named_as_such(hub: StubHub, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", hub.url)

    with refused(HubUnreachable, "the proxy on the way to hub.invalid refuses", "HTTPS_PROXY"):
        find(MODEL, HF_ENDPOINT="https://hub.invalid")


def test_a_hub_that_never_answers_is_given_up(hub: StubHub, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmpctl.hub.client.TIMEOUT", httpx.Timeout(0.1))
    hub.faults = [Fault(0, stalls=True)] * 4

    with refused(HubUnreachable, f"{hub.host} does not answer in time"):
        find(MODEL)


def test_a_certificate_is_checked_and_one_of_a_company_can_be_named(find: Find, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with running_hub(certificate) as hub:
        hub.add(MODEL, one_file())

        with refused(HubUnreachable, "certificate", "SSL_CERT_FILE"):
            find(MODEL, HF_ENDPOINT=hub.url)
        assert find(MODEL, HF_ENDPOINT=hub.url, REQUESTS_CA_BUNDLE=str(certificate)).weights_bytes == 4096


def test_a_ca_file_that_is_not_there_is_named(find: Find) -> None:
    with refused(HubUnreachable, "/nowhere/ca.pem", "SSL_CERT_FILE"):
        find(MODEL, SSL_CERT_FILE="/nowhere/ca.pem")


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({}, ModelConfigMissing, "no config.json"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, ModelConfigMissing, "adapter"),
        ({"model-q4.gguf": b""}, ModelConfigMissing, "GGUF"),
        ({"params.json": b"{}", "consolidated.safetensors": b""}, ModelConfigMissing, "Mistral's own format"),
        ({"config.json": b"{"}, ModelConfigInvalid, "config.json of owner/model on the hub is not a JSON object"),
        ({"config.json": b"[1]"}, ModelConfigInvalid, "is not a JSON object"),
        ({"config.json": b"\xff\xfe"}, ModelConfigInvalid, "is not a JSON object"),
        ({"config.json": b"[" * 100_000}, ModelConfigInvalid, "is not a JSON object"),
        ({"config.json": b"{}"}, ModelWithoutSafetensors, "no safetensors weights"),
        ({"config.json": b"{}", "a.bin": b"", "b.gguf": b""}, ModelWithoutSafetensors, "only .bin, .gguf files"),
        ({**one_file(), WEIGHTS: b""}, WeightsDamaged, "too short"),
        ({**one_file(), WEIGHTS: one_file()[WEIGHTS][:50]}, WeightsDamaged, "ends inside its header"),
        ({**one_file(), WEIGHTS: one_file()[WEIGHTS][:-1]}, WeightsDamaged, "where its header promises"),
        ({**one_file(), WEIGHTS: b"\xff" * 100}, WeightsDamaged, "claims a header of 18446744073709551615 bytes"),
        ({**one_file(), WEIGHTS: framed(b"not JSON")}, WeightsDamaged, "not JSON"),
        ({**one_file(), WEIGHTS: framed(b'{"a": 1}')}, WeightsDamaged, "damaged entry for 'a'"),
        ({**one_file(), "model.safetensors.index.json": b"[]"}, WeightsDamaged, "is not the index"),
        ({**one_file(), "model.safetensors.index.json": b'{"weight_map": {"a": 1}}'}, WeightsDamaged, "not the index"),
    ],
)
def test_a_model_whose_files_are_of_no_use_is_refused_with_the_file_named(
    hub: StubHub, find: Find, files: dict[str, bytes], kind: type[PmpctlError], words: str
) -> None:
    hub.add(MODEL, files)

    with refused(kind, words):
        find(MODEL)
    assert kind.exit_status == ExitStatus.INVALID


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "nested/model.safetensors", ""])
def test_an_index_cannot_make_pmpctl_read_other_files(hub: StubHub, find: Find, name: str) -> None:
    hub.add(MODEL, {**one_file(), "model.safetensors.index.json": index({name: ["a"]}), name: b"?"})

    assert find(MODEL).tensors is None
    assert sorted(hub.files_asked()) == ["config.json", "model.safetensors.index.json"]


def self_signed(folder: Path) -> Path:
    """A file with a key and a certificate for localhost."""
    made = folder / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", made, "-out", folder / "cert.pem"], check=True, capture_output=True)
    made.write_text(made.read_text() + (folder / "cert.pem").read_text())
    return made
