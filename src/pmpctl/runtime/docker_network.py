"""The workspace's own bridge network."""

from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError

from pmpctl.errors import NameConflict
from pmpctl.planning.plan import LABEL_WORKSPACE
from pmpctl.runtime.docker_errors import engine_errors


def ensure_network(client: APIClient, workspace_id: str, name: str) -> str:
    """Its id, since Docker 20.10 lets two networks share a name; raises NameConflict if the name is another's."""
    with engine_errors(f"create the network {name}"):
        if (ours := find_network(client, workspace_id, name)) is not None:
            return ours
        try:
            made = client.create_network(
                name, driver="bridge", check_duplicate=True, labels={LABEL_WORKSPACE: workspace_id}
            )
        except APIError:
            # Another of our commands may have been faster.
            if (ours := find_network(client, workspace_id, name)) is not None:
                return ours
            raise
        return str(made["Id"])


def find_network(client: APIClient, workspace_id: str, name: str) -> str | None:
    with engine_errors(f"look for the network {name}"):
        # The engine's filter takes a part of a name for a match.
        found: list[dict[str, Any]] = [one for one in client.networks(names=[name]) if one["Name"] == name]
    ours = sorted(str(one["Id"]) for one in found if (one["Labels"] or {}).get(LABEL_WORKSPACE) == workspace_id)
    if ours:
        return ours[0]
    if found:
        raise NameConflict(
            f"a Docker network named {name} exists already and is not this workspace's",
            cure=f"Remove it with `docker network rm {found[0]['Id'][:12]}` if nothing needs it.",
        )
    return None


def remove_networks(client: APIClient, workspace_id: str) -> list[str]:
    """The names of those removed; one that a container of somebody else's still uses is kept and found again later."""
    removed = []
    with engine_errors("remove the workspace's network"):
        for network in client.networks(filters={"label": f"{LABEL_WORKSPACE}={workspace_id}"}):
            try:
                client.remove_network(network["Id"])
            except APIError as error:
                if error.status_code not in (403, 404):
                    raise
                continue
            removed.append(str(network["Name"]))
    return removed
