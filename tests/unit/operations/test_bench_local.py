"""`bench` without an address: the workspace's own gateway, and what the workspace knows of the engine behind it."""

from tests.stack import Stack

SMALL = ("--concurrency", "2", "--requests", "4", "--prompt-tokens", "40", "--output-tokens", "12")


def test_the_workspaces_own_api_is_measured_and_named(stack: Stack) -> None:
    stack.run("up", "coding")

    found = stack.json("bench", *SMALL)["data"]

    assert (found["url"], found["profile"]) == (f"http://127.0.0.1:{stack.api_port}", "coding")
    assert (found["model"], found["max_model_len"]) == ("llm", 4096)
    assert found["engine"] == f"vLLM {stack.status()['versions']['vllm']}"
    (level,) = found["levels"]
    assert (level["answered"], level["errors"]) == (4, {})


def test_a_gateway_that_wants_a_token_gets_it_from_the_environment(stack: Stack) -> None:
    added = stack.json("token", "add", "bench")["data"]
    stack.run("up", "coding")

    refused = stack.run("bench", *SMALL, PMPCTL_TOKEN="")
    measured = stack.run("bench", *SMALL, PMPCTL_TOKEN=added["token"])

    assert refused.returncode == 2
    assert "PMPCTL_TOKEN" in refused.stderr
    assert measured.returncode == 0, measured.stderr
    assert added["token"] not in measured.stdout + measured.stderr
