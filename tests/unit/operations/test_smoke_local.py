"""`smoke` without an address: the workspace's own gateway, and what the workspace knows of the engine behind it."""

import json
import socket
from typing import Any

from pmpctl.host.addresses import network_addresses
from tests.stack import Stack


def smoke(stack: Stack, *argv: str, token: str = "") -> dict[str, Any]:
    done = stack.run("smoke", "--no-tools", "--json", *argv, PMPCTL_TOKEN=token)
    data: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["data"]
    return data


def test_the_workspaces_own_api_is_checked_and_named(stack: Stack) -> None:
    stack.run("up", "coding")

    found = smoke(stack)

    assert (found["url"], found["profile"]) == (f"http://127.0.0.1:{stack.api_port}", "coding")
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert verdicts["health"] == verdicts["health-silent"] == verdicts["models"] == "pass"
    assert verdicts["auth-no-token"] == verdicts["unknown-route"] == verdicts["answer"] == "pass"


def test_a_profile_without_an_address_is_the_one_that_has_to_run(stack: Stack) -> None:
    stack.run("up", "coding")

    assert smoke(stack, "--profile", "coding")["profile"] == "coding"
    another = stack.run("smoke", "--profile", "chat")

    assert another.returncode == 2
    assert "coding runs here, not chat" in another.stderr


def test_a_gateway_that_wants_a_token_gets_it_from_the_environment(stack: Stack) -> None:
    added = stack.json("token", "add", "smoke")["data"]
    stack.run("up", "coding")

    checked = smoke(stack, token=added["token"])

    verdicts = {check["name"]: check["verdict"] for check in checked["checks"]}
    assert verdicts["auth-no-token"] == verdicts["auth-wrong-token"] == verdicts["auth-empty-token"] == "pass"
    assert verdicts["models"] == "pass"


def test_without_a_token_one_is_made_for_the_run_and_revoked_after_it(stack: Stack) -> None:
    stack.json("token", "add", "mine")
    stack.run("up", "coding")

    checked = smoke(stack)

    verdicts = {check["name"]: check["verdict"] for check in checked["checks"]}
    assert verdicts["auth-no-token"] == verdicts["models"] == verdicts["answer"] == "pass"
    assert [token["name"] for token in stack.json("token", "list")["data"]["tokens"]] == ["mine"]


def test_a_soak_sees_the_processes_of_the_workspace(stack: Stack) -> None:
    stack.run("up", "coding")

    checked = smoke(stack, "--soak", "0.03")

    found = {check["name"]: check for check in checked["checks"]}
    assert found["soak-restarts"]["verdict"] == "pass"
    assert {"engine_growth_mib", "gateway_growth_mib"} <= found["soak-memory"]["figures"].keys()


def test_an_engine_is_looked_for_at_each_address_of_a_gateway_that_listens_on_all(stack: Stack) -> None:
    stack.write(gateway="allow_open = true")
    file = stack.workspace.root / "profiles.toml"
    file.write_text(file.read_text().replace('listen = "127.0.0.1:', 'listen = "0.0.0.0:'))
    stack.run("up", "coding")

    hidden = smoke(stack)
    # What an engine that is published on this address, too, would hold.
    address = network_addresses()[0]
    with socket.create_server(
        (address, stack.engine_port), family=socket.AF_INET6 if ":" in address else socket.AF_INET
    ):
        found = smoke(stack)

    verdicts = [next(each for each in run["checks"] if each["name"] == "engine-hidden") for run in (hidden, found)]
    assert [each["verdict"] for each in verdicts] == ["pass", "fail"]
    assert f"answers at {address} port {stack.engine_port}" in verdicts[1]["detail"]
