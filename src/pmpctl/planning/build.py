"""Profile file + host facts + workspace -> plan."""

from collections.abc import Iterator
from dataclasses import replace

from pmpctl.planning.context import Context
from pmpctl.planning.engine_unit import engine_unit
from pmpctl.planning.gateway_unit import gateway_unit
from pmpctl.planning.host import HostFacts
from pmpctl.planning.images import VLLM_RELEASE, engine_image, version_text, vllm_version
from pmpctl.planning.listen import Listener, public_listener
from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, LABEL_ROLE, LABEL_WORKSPACE, Plan, Unit
from pmpctl.planning.requests import request_policy
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.workspace import Workspace


def build_plan(workspace: Workspace, file: ProfileFile, profile_name: str, facts: HostFacts) -> Plan:
    """Raises ProfileUnknown, PlanInvalid, GpuNotAvailable or OpenListener: all before anything is touched."""
    context = Context(workspace, file.profile(profile_name), file.gateway, file.host, facts)
    profile = context.profile
    listener = public_listener(file.gateway, has_tokens=facts.has_tokens)
    names = served_names(profile)
    return Plan(
        workspace=workspace.id,
        runtime=facts.runtime,
        profile=profile.name,
        model=profile.model,
        served_names=names,
        max_model_len=profile.max_model_len,
        engine=_labelled(workspace, engine_unit(context, names), profile=profile.name),
        gateway=_labelled(workspace, gateway_unit(context, listener), profile=""),
        network=context.network,
        engine_url=f"http://127.0.0.1:{file.host.engine_port}",
        base_url=listener.url,
        start_timeout_seconds=profile.start_timeout,
        requests=request_policy(profile).as_data(),
        warnings=tuple(_warnings(context, listener)),
    )


def served_names(profile: Profile) -> tuple[str, ...]:
    """`llm` first, since vLLM answers with the first name; then the profile's name and the model's id."""
    return tuple(dict.fromkeys(("llm", profile.name, profile.backend_model_id or profile.model)))


def _labelled(workspace: Workspace, unit: Unit, profile: str) -> Unit:
    labels = {
        LABEL_WORKSPACE: workspace.id,
        LABEL_ROLE: unit.role,
        LABEL_PROFILE: profile,
        LABEL_PLAN: unit.hash,
    }
    return replace(unit, labels=labels)


def _warnings(context: Context, listener: Listener) -> Iterator[str]:
    image = engine_image(context.profile, context.host)
    if context.in_docker and vllm_version(image) is None:
        yield f"the tag of {image} names no vLLM release; its arguments are written for {version_text(VLLM_RELEASE)}"
    if context.profile.trust_remote_code:
        yield "trust_remote_code = true runs code from the model's repository inside the engine"
    if not listener.is_loopback and not context.facts.has_tokens:
        yield f"the API on {context.gateway.listen} is open to everyone who reaches it (allow_open = true)"
