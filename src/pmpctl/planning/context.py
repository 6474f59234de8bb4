"""What every part of the plan is made from."""

from dataclasses import dataclass

from pmpctl.planning.host import HostFacts
from pmpctl.profiles.model import GatewaySettings, HostSettings, Profile
from pmpctl.workspace import Workspace

ENGINE_ALIAS = "engine"
"""The name under which the gateway's container finds the engine's."""


@dataclass(frozen=True, slots=True)
class Context:
    workspace: Workspace
    profile: Profile
    gateway: GatewaySettings
    host: HostSettings
    facts: HostFacts

    @property
    def in_docker(self) -> bool:
        return self.facts.runtime == "docker"

    @property
    def network(self) -> str:
        return f"pmpctl-{self.workspace.id}" if self.in_docker else ""


def is_local(model: str) -> bool:
    return model.startswith(("/", "./", "../", "builtin:"))
