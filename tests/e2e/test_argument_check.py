"""The real vLLM is asked about its arguments, as a program of this machine and in its image."""

from pathlib import Path

import pytest

from pmpctl.errors import ArgumentsRefused
from pmpctl.operations.argument_check import check_arguments
from pmpctl.operations.environment import Environment, make_plan, prepare_folders
from pmpctl.planning.plan import Plan
from pmpctl.runtime.base import Runtime
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace
from tests.cards import run_operation

pytestmark = pytest.mark.slow

PROFILES = """
[host]
cpu_image = "{image}"
[profiles.demo]
model = "builtin:demo"
device = "cpu"
max_model_len = 2048
tool_call_parser = "hermes"
chat_template = "builtin:devstral"
[profiles.mistaken]
extends = "demo"
tool_call_parser = "hermess"
[profiles.newer]
extends = "demo"
extra_args = ["--seed", "one"]
"""


def prepared_plan(workspace: Workspace, runtime: Runtime, profile: str, program: str, image: str) -> Plan:
    (workspace.root / "profiles.toml").write_text(PROFILES.format(image=image))
    environment = Environment(workspace, None, runtime.kind, {"PMPCTL_ENGINE_PROGRAM": program})
    file = environment.profile_file()
    plan = make_plan(environment, file, runtime, profile)
    prepare_folders(environment, file, plan)
    return plan


def assert_judged(workspace: Workspace, runtime: Runtime, program: str = "", image: str = "a/b:1") -> None:
    accepted = prepared_plan(workspace, runtime, "demo", program, image)
    assert run_operation(check_arguments(workspace, runtime, accepted)).verdict == "accepted"
    for profile, words in (
        ("mistaken", "invalid tool call parser: hermess"),
        ("newer", "argument --seed: invalid int value: 'one'"),
    ):
        with pytest.raises(ArgumentsRefused, match=words):
            run_operation(
                check_arguments(workspace, runtime, prepared_plan(workspace, runtime, profile, program, image))
            )


@pytest.mark.vllm
def test_the_installed_vllm_judges_its_arguments(workspace: Workspace, vllm_program: Path) -> None:
    assert_judged(workspace, ProcessRuntime(workspace), str(vllm_program))


@pytest.mark.docker
def test_the_vllm_of_an_image_judges_its_arguments_without_network(
    workspace: Workspace, docker_host: str, vllm_image: str
) -> None:
    runtime = DockerRuntime.connect(workspace, docker_host, {})
    try:
        assert_judged(workspace, runtime, image=vllm_image)
    finally:
        runtime.close()
