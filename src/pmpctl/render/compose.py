"""Plans as compose files: one file that holds all of a plan, or a folder in which MODEL_PROFILE picks the engine."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import indent
from typing import Any

import yaml

from pmpctl.planning.gateway_unit import CONTROL_DIR
from pmpctl.planning.plan import Plan
from pmpctl.render.compose_service import Layout, service, volume_names

MARK = "# Rendered by `pmpctl render compose"
"""How every rendered file begins."""

_GATEWAY_COMMENT = f"""\
# {CONTROL_DIR} is a tmpfs, since a folder of the host would have to exist and to belong to the gateway's user.
# `docker compose exec gateway python -m pmp_gateway.control status` reaches the socket in it.
"""


def compose_file(plan: Plan, layout: Layout, options: str) -> str:
    """`options` are the words after `render compose` that render this text again."""
    services: dict[str, Any] = {unit.role: service(unit, plan, layout) for unit in plan.units}
    return _document(options, services, volume_names(plan))


def compose_folder(plans: Sequence[Plan], default: str, layout: Layout, options: str) -> dict[str, str]:
    """The texts of a folder's files by their names in it; the gateway is the same for all plans."""
    engines = Layout(layout.folder / "engines", layout.root)
    chosen = {"extends": {"file": f"engines/${{MODEL_PROFILE:-{default}}}.yaml", "service": "engine"}}
    gateway = service(plans[0].gateway, plans[0], layout)
    gateway["user"] = f"${{GATEWAY_USER:-{gateway['user']}}}"
    volumes = set().union(*map(volume_names, plans))
    files = {
        "compose.yaml": _document(options, {"engine": chosen, "gateway": gateway}, volumes),
        ".env.example": _env_example(plans, default, options),
    }
    for plan in plans:
        engine = {"engine": service(plan.engine, plan, engines)}
        files[f"engines/{plan.profile}.yaml"] = _document(options, engine, volume_names(plan))
    return files


def _env_example(plans: Sequence[Plan], default: str, options: str) -> str:
    return f"""{_header(options)}
# Copy it to `.env` in this folder, where compose looks for it.

# One of: {", ".join(plan.profile for plan in plans)}
MODEL_PROFILE={default}

# Two stacks on one machine need different names; the default is this folder's.
#COMPOSE_PROJECT_NAME=compose

# Who the gateway runs as: user and group ids that can read the token file.
#GATEWAY_USER={plans[0].gateway.user}
"""


def _document(options: str, services: Mapping[str, Any], volumes: Iterable[str]) -> str:
    texts = [_service_text(name, keys) for name, keys in services.items()]
    text = f"{_header(options)}\n\nservices:\n" + "\n".join(texts)
    if names := sorted(volumes):
        text += "\n# Compiled code, apart for each image.\n" + _yaml({"volumes": {name: {} for name in names}})
    return text


def _service_text(name: str, keys: Mapping[str, Any]) -> str:
    comment = _GATEWAY_COMMENT if name == "gateway" else ""
    return indent(comment + _yaml({name: keys}), "  ")


def _header(options: str) -> str:
    return f"{MARK} {options}`. Change the profile file and render anew instead of editing this."


class _Dumper(yaml.SafeDumper):
    """Writes what people write: items deeper than their key, and no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 (as inherited)
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (as inherited)
        return True


def _yaml(data: Any) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
