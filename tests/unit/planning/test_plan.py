"""What a plan says, what changes its hash, and what it refuses."""

import json
from pathlib import Path

import pytest

from pmp_gateway.control_schema import RequestPolicy
from pmp_gateway.settings import Settings
from pmpctl.errors import GpuNotAvailable, OpenListener, PlanInvalid, ProfileUnknown
from pmpctl.planning.host import LocalFile
from pmpctl.planning.plan import LABEL_PLAN, as_data
from tests.unit.planning.factory import flag, plan


def test_the_engine_is_published_on_loopback_only() -> None:
    made = plan(gateway={"listen": "0.0.0.0:9000", "allow_open": True})

    assert [(port.host_ip, port.host_port) for port in made.engine.ports] == [("127.0.0.1", 8002)]
    assert [(port.host_ip, port.host_port) for port in made.gateway.ports] == [("0.0.0.0", 9000)]


def test_a_wide_listener_without_tokens_is_refused_with_both_cures() -> None:
    with pytest.raises(OpenListener) as caught:
        plan(gateway={"listen": "0.0.0.0:8000"})
    assert "config/auth.json" in caught.value.cure
    assert "allow_open = true" in caught.value.cure


@pytest.mark.parametrize("listen", ["127.0.0.1:8000", "127.0.0.5:8000", "[::1]:8000", "localhost:8000"])
def test_loopback_needs_no_tokens(listen: str) -> None:
    assert plan(gateway={"listen": listen}).base_url.startswith("http://")


def test_tokens_allow_a_wide_listener_which_this_machine_reaches_on_loopback() -> None:
    assert plan(gateway={"listen": "0.0.0.0:8000"}, has_tokens=True).base_url == "http://127.0.0.1:8000"
    assert plan(gateway={"listen": "[::]:8000"}, has_tokens=True).base_url == "http://[::1]:8000"


def test_an_open_api_that_is_meant_is_still_warned_about() -> None:
    warnings = plan(gateway={"listen": "0.0.0.0:8000", "allow_open": True}).warnings
    assert any("open to everyone" in warning for warning in warnings)


def test_another_profile_leaves_the_gateway_as_it_is() -> None:
    one, other = plan({"name": "coding"}), plan({"name": "chat", "model": "acme/chat", "max_model_len": 8192})

    assert one.gateway.hash == other.gateway.hash
    assert one.engine.hash != other.engine.hash


def test_the_gateway_understands_what_the_plan_tells_it() -> None:
    told = {"metrics": True, "cors_origins": ["https://chat.example", "*"], "allowed_hosts": ["gpu.example.com"]}
    understood = Settings.from_env(plan(gateway=told).gateway.env)
    assert understood.public_metrics
    assert understood.cors_origins == ("https://chat.example", "*")
    assert understood.allowed_hosts == ("gpu.example.com",)

    default = Settings.from_env(plan().gateway.env)
    assert not default.public_metrics
    assert (default.cors_origins, default.allowed_hosts) == ((), ())


def test_the_hash_follows_what_runs_and_not_when_or_why() -> None:
    assert plan().engine.hash == plan({"description": "another word", "start_timeout": 600}).engine.hash
    assert plan().engine.hash != plan({"max_model_len": 4096}).engine.hash
    assert plan().engine.labels[LABEL_PLAN] == plan().engine.hash


def test_an_edited_chat_template_changes_the_plan() -> None:
    profile = {"chat_template": "./my.jinja"}
    one = plan(profile, files={"./my.jinja": LocalFile(Path("/srv/llm/my.jinja"), "aaaa")})
    two = plan(profile, files={"./my.jinja": LocalFile(Path("/srv/llm/my.jinja"), "bbbb")})

    assert one.engine.hash != two.engine.hash
    assert flag(one, "--chat-template") in [mount.target for mount in one.engine.mounts]


def test_a_plan_is_plain_data() -> None:
    assert json.loads(json.dumps(as_data(plan())))["profile"] == "coding"


def test_an_unknown_profile_is_named_with_those_that_exist() -> None:
    from pmpctl.profiles.model import GatewaySettings, HostSettings, Profile, ProfileFile

    file = ProfileFile(Path("p.toml"), GatewaySettings(), HostSettings(), {"chat": Profile(name="chat", model="a/b")})
    with pytest.raises(ProfileUnknown) as caught:
        file.profile("caht")
    assert '"chat"' in caught.value.cure


def test_a_gpu_profile_takes_the_best_way_that_the_engine_offers() -> None:
    best = plan(gpu_methods=("cdi", "device-requests")).engine.gpu
    forced = plan(host={"gpu_access": "runtime", "gpus": [0, "GPU-5"]}).engine.gpu

    assert best is not None
    assert (best.method, best.devices) == ("cdi", ("all",))
    assert forced is not None
    assert (forced.method, forced.devices) == ("runtime", ("0", "GPU-5"))


def test_a_gpu_profile_on_an_engine_without_gpus_is_refused() -> None:
    with pytest.raises(GpuNotAvailable) as caught:
        plan(gpu_methods=())
    assert "nvidia-container-toolkit" in caught.value.cure


def test_a_gpu_profile_without_docker_needs_a_card_that_the_driver_shows() -> None:
    with pytest.raises(GpuNotAvailable):
        plan(runtime="process", gpus=())
    assert plan(runtime="process", gpus=("GPU-aaaa",)).engine.argv[0] == "/vllm/bin/vllm"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("all", ("GPU-aaaa", "GPU-bbbb")),
        ((1,), ("GPU-bbbb",)),
        (("GPU-bbbb", "MIG-cccc"), ("GPU-bbbb", "MIG-cccc")),
        ((7,), ("7",)),
    ],
)
def test_without_docker_gpus_go_by_identifiers_that_cuda_and_the_driver_read_alike(
    wanted: object, given: tuple[str, ...]
) -> None:
    gpu = plan(runtime="process", host={"gpus": wanted}).engine.gpu

    assert gpu is not None
    assert gpu.devices == given


def test_both_containers_drop_what_they_do_not_need() -> None:
    made = plan()

    assert made.engine.cap_drop == made.gateway.cap_drop == ("ALL",)
    assert made.gateway.cap_add == ()
    assert made.gateway.read_only
    assert made.gateway.user == "1000:1000"
    assert plan(uid=0, gid=0).gateway.user == "65532:65532"


def test_the_hub_token_reaches_the_engine_as_a_file() -> None:
    made = plan()

    folder, _, _ = made.engine.env["HF_TOKEN_PATH"].rpartition("/")
    mount = next(mount for mount in made.engine.mounts if mount.target == folder)
    assert mount.source == "/srv/llm/.pmpctl/secrets"
    assert mount.read_only
    assert "HF_TOKEN" not in made.engine.env


@pytest.mark.parametrize("address", ["https://me:s3cret@hub.example", "https://s3cret@hub.example/hf"])
def test_a_password_in_the_hubs_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan(hub_environment={"HF_ENDPOINT": address})
    assert "HF_ENDPOINT" in caught.value.message
    assert "HF_TOKEN" in caught.value.cure
    assert "s3cret" not in caught.value.message + caught.value.cure

    assert plan(hub_environment={"HF_ENDPOINT": "https://hub.example/a@b"}).engine.env["HF_ENDPOINT"].endswith("a@b")


def test_the_cache_is_the_one_that_people_have() -> None:
    mounts = {mount.target: mount.source for mount in plan().engine.mounts}
    assert mounts["/root/.cache/huggingface"] == "/srv/llm/models"


def test_compiled_code_is_shared_by_no_two_images() -> None:
    def volume(image: str) -> str:
        return next(mount.source for mount in plan({"image": image}).engine.mounts if mount.kind == "volume")

    assert volume("vllm/vllm-openai:v0.32.0") != volume("vllm/vllm-openai:v0.31.0")


def test_a_token_file_in_the_workspaces_own_folder_is_refused() -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan(gateway={"auth_config": "auth.json"})
    assert "config/auth.json" in caught.value.cure


def test_without_docker_everything_runs_on_paths_of_the_host() -> None:
    made = plan({"name": "demo", "model": "builtin:demo", "device": "cpu"}, runtime="process")

    assert made.engine.argv[:3] == ("/vllm/bin/vllm", "serve", "/pkg/demo_model")
    assert flag(made, "--host") == "127.0.0.1"
    assert made.engine.env["HF_HOME"] == "/srv/llm/models"
    assert made.engine.mounts == ()
    assert made.gateway.argv == ("/venv/bin/python", "-m", "pmp_gateway")
    assert made.gateway.env["BACKEND_URL"] == made.engine_url


def test_a_plan_says_what_requests_may_ask_for() -> None:
    limits = {"max_tokens": 100, "allow_fields": ["priority"], "media_domains": ["a.example"]}
    made = plan({"requests": limits})

    assert RequestPolicy.from_data(json.loads(json.dumps(as_data(made)))["requests"]) == RequestPolicy(
        max_tokens=100, allow_fields=("priority",), media_domains=("a.example",)
    )
    assert made.gateway.hash == plan().gateway.hash
    assert made.hash != plan().hash


def test_a_profile_that_says_nothing_of_requests_is_as_strict_as_a_gateway_that_runs_alone() -> None:
    assert RequestPolicy.from_data(plan().requests) == RequestPolicy()
