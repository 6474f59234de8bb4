"""Recorded plans from few words."""

from dataclasses import replace
from typing import Any

from pmpctl.planning.build import build_plan
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.profiles.model import GatewaySettings, HostSettings, Profile, ProfileFile
from pmpctl.workspace import Workspace
from tests.unit.planning.factory import FACTS


def recorded(workspace: Workspace, name: str, **fields: Any) -> RecordedPlan:
    profile = Profile(name=name, model=f"acme/{name}", device="cpu", **fields)
    file = ProfileFile(workspace.root / "profiles.toml", GatewaySettings(), HostSettings(), {name: profile})
    plan = build_plan(workspace, file, name, replace(FACTS, runtime="process"))
    return RecordedPlan(plan=plan)
