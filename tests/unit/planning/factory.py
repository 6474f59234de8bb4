"""Plans from few words: what a test does not name is as on an ordinary host with Docker."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pmpctl.planning.build import build_plan
from pmpctl.planning.host import HostFacts, LocalFile
from pmpctl.planning.plan import Plan
from pmpctl.profiles.model import GatewaySettings, HostSettings, Profile, ProfileFile
from pmpctl.workspace import Workspace

ROOT = Path("/srv/llm")

FACTS = HostFacts(
    runtime="docker",
    uid=1000,
    gid=1000,
    gpus=("GPU-aaaa", "GPU-bbbb"),
    gpu_methods=("device-requests", "runtime"),
    python=Path("/venv/bin/python"),
    engine_program=Path("/vllm/bin/vllm"),
    gateway_image="pmpctl-gateway:0123456789ab",
    gateway_build=None,
    hub_environment={},
    has_tokens=False,
    files={"builtin:demo": LocalFile(Path("/pkg/demo_model"), "")},
)


def plan(
    profile: Mapping[str, Any] | None = None,
    *,
    gateway: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Plan:
    fields: dict[str, Any] = {"name": "coding", "model": "acme/coder", **(profile or {})}
    file = ProfileFile(
        path=ROOT / "profiles.toml",
        gateway=GatewaySettings(**(gateway or {})),
        host=HostSettings(**(host or {})),
        profiles={fields["name"]: Profile(**fields)},
    )
    return build_plan(Workspace(ROOT), file, fields["name"], replace(FACTS, **facts))


def flag(plan: Plan, name: str) -> str | None:
    """The value after a flag of the engine's arguments; None when the flag is not there."""
    argv = plan.engine.argv
    return argv[argv.index(name) + 1] if name in argv else None
