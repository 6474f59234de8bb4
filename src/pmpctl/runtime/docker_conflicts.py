"""Names and ports that containers of somebody else's, or processes, already have."""

import ipaddress
from typing import Any

from docker.api.client import APIClient

from pmpctl.errors import NameConflict, PortTaken, RuntimeFailed
from pmpctl.planning.listen import host_address
from pmpctl.planning.plan import LABEL_ROLE, LABEL_WORKSPACE, PortBinding, Role
from pmpctl.runtime.docker_errors import engine_errors
from pmpctl.runtime.neighbours import tenant_of_container, tenant_of_process
from pmpctl.runtime.ports import port_holder

CHOOSE_ANOTHER = "choose another port in the profile file (`listen` under [gateway], `engine_port` under [host])"


def find_by_name(client: APIClient, workspace_id: str, name: str) -> str | None:
    """The id of our container of that name; raises NameConflict if it is not ours."""
    with engine_errors("list its containers"):
        # The engine's filter takes a part of a name for a match.
        found = [one for one in client.containers(all=True, filters={"name": name}) if f"/{name}" in one["Names"]]
    for container in found:
        if container["Labels"].get(LABEL_WORKSPACE) != workspace_id:
            raise NameConflict(
                f"a container named {name} exists already and is not this workspace's",
                cure=f"Rename or remove it: `docker rename {name} NEW_NAME` or `docker rm -f {name}`.",
            )
        return str(container["Id"])
    return None


def refuse_foreign_port(client: APIClient, workspace_id: str, role: Role, port: PortBinding, *, is_local: bool) -> None:
    """Raises PortTaken unless the port is free, or held by the unit that the new one of this role will replace."""
    address = host_address(port)
    with engine_errors("list its containers"):
        running: list[dict[str, Any]] = client.containers()
    for container in running:
        if not any(_clashes(published, address, port.host_port) for published in container["Ports"]):
            continue
        name, labels = container["Names"][0].removeprefix("/"), container["Labels"]
        if (labels.get(LABEL_WORKSPACE), labels.get(LABEL_ROLE)) == (workspace_id, role):
            return
        tenant = tenant_of_container(container)
        stop = tenant.stop if tenant else f"Stop it (`docker stop {name}`)"
        raise PortTaken(
            f"port {address}:{port.host_port} is already in use by the container {name}"
            f"{f', {tenant}' if tenant else ''}",
            cure=f"{stop}, or {CHOOSE_ANOTHER}.",
        )
    if is_local:
        _refuse_process(address, port.host_port)


def _refuse_process(address: str, port: int) -> None:
    try:
        holder = port_holder(address, port)
    except PermissionError:
        # A port below 1024 is not ours to try, but the engine's to use.
        return
    except OSError as error:
        raise RuntimeFailed(
            f"nothing can listen on {address}:{port}: {error.strerror}",
            cure="Choose an address that `ip address` lists, or 127.0.0.1, for `listen` in the profile file.",
        ) from error
    if holder is None:
        return
    if (tenant := tenant_of_process(holder.pid) if holder.pid else None) is not None:
        stop = tenant.stop
    else:
        stop = f"Stop it (`kill {holder.pid}`)" if holder.pid else "`sudo ss -ltnp` tells what it is; stop it"
    raise PortTaken(
        f"port {address}:{port} is already in use by {holder}{f', {tenant}' if tenant else ''}",
        cure=f"{stop}, or {CHOOSE_ANOTHER}.",
    )


def _clashes(published: dict[str, Any], address: str, port: int) -> bool:
    """Whether two sockets exclude each other; one on all addresses excludes every one of its family."""
    if published.get("PublicPort") != port:
        return False
    ours, theirs = ipaddress.ip_address(address), ipaddress.ip_address(published["IP"])
    return ours == theirs or (ours.version == theirs.version and (ours.is_unspecified or theirs.is_unspecified))
