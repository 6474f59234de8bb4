"""`render`: the plan as files for whoever prefers another tool to start it."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from pmpctl.errors import DockerNotAvailable
from pmpctl.host.files import make_folder, save
from pmpctl.operations.environment import Environment, choose_runtime, default_profile, gather, owner_of
from pmpctl.operations.events import Notice, Operation
from pmpctl.planning.build import build_plan
from pmpctl.planning.listen import public_listener
from pmpctl.planning.plan import GpuMethod, Plan
from pmpctl.profiles.load import load, locate
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.render.compose import MARK, compose_file, compose_folder
from pmpctl.render.compose_service import Layout

USUAL_GPU_METHODS: tuple[GpuMethod, ...] = ("device-requests",)
"""What every Docker engine with NVIDIA's toolkit understands."""

GATEWAY_IMAGE = "pmpctl-gateway:compose"


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """`file` is where `text` was written; None if nowhere."""

    profile: str
    text: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class ComposeFolder:
    """`removed` are engines that were rendered earlier, and no profile stands for them any more."""

    folder: Path
    written: tuple[str, ...]
    removed: tuple[str, ...]


def render_compose(environment: Environment, profile_name: str | None, output: Path | None) -> Operation[ComposeFile]:
    """One file, for this host; what is not written to `output` has paths that count from the current folder."""
    file = environment.profile_file()
    if profile_name is None:
        profile_name, why = default_profile(environment, file)
        yield Notice("info", f"profile: {profile_name} ({why})")
    profile = file.profile(profile_name)
    gpu_methods = yield from _gpu_methods(environment, file, profile)
    facts = gather(environment, file, profile, "docker", gpu_methods)
    plan = build_plan(environment.workspace, file, profile_name, facts)
    for warning in plan.warnings:
        yield Notice("warning", warning)
    path = output.absolute() if output else None
    layout = Layout(path.parent if path else Path.cwd(), environment.workspace.root)
    options = shlex.join((profile_name, "--output", str(output)) if output else (profile_name,))
    text = compose_file(plan, layout, options)
    if path is not None:
        save(path, text, mode=0o644)
    return ComposeFile(profile_name, text, path)


def render_compose_folder(environment: Environment, folder: Path) -> Operation[ComposeFolder]:
    """Every profile, for any host."""
    file = _file_for_any_host(environment)
    if not public_listener(file.gateway, has_tokens=True).is_loopback:
        yield Notice(
            "warning",
            f"compose opens the API on {file.gateway.listen} without asking whether {file.gateway.auth_config} "
            "holds a token, as `pmpctl up` does",
        )
    folder = folder.absolute()
    texts = compose_folder_texts(environment, folder)
    uid, gid = owner_of(environment.workspace)
    make_folder(folder / "engines", uid=uid, gid=gid)
    for name, text in texts.items():
        save(folder / name, text, mode=0o644)
    stale = [path for path in _rendered_engines(folder) if f"engines/{path.name}" not in texts]
    for path in stale:
        path.unlink(missing_ok=True)
    return ComposeFolder(folder, tuple(texts), tuple(f"engines/{path.name}" for path in stale))


def compose_folder_texts(environment: Environment, folder: Path) -> dict[str, str]:
    """The folder's files by name. The same profile file gives the same texts on every machine."""
    file = _file_for_any_host(environment)
    plans = [_plan_for_any_host(environment, file, profile) for profile in file.profiles.values()]
    default = file.default or plans[0].profile
    root = environment.workspace.root
    shown = folder.relative_to(root) if folder.is_relative_to(root) else folder
    return compose_folder(plans, default, Layout(folder, root), shlex.join(("--directory", str(shown))))


def _file_for_any_host(environment: Environment) -> ProfileFile:
    """Without MODEL_PROFILE, which is for whoever starts the stack to set."""
    return load(locate(environment.workspace.root, environment.config, environment.variables), {})


def _plan_for_any_host(environment: Environment, file: ProfileFile, profile: Profile) -> Plan:
    facts = replace(
        gather(environment, file, profile, "docker", USUAL_GPU_METHODS),
        uid=0,
        gid=0,
        gateway_image=GATEWAY_IMAGE,
        hub_environment={},
        has_tokens=True,
    )
    return build_plan(environment.workspace, file, profile.name, facts)


def _gpu_methods(environment: Environment, file: ProfileFile, profile: Profile) -> Operation[tuple[GpuMethod, ...]]:
    """What the engine here offers; one without GPUs is no error, since the file may be meant for another host."""
    if profile.device != "cuda":
        return ()
    try:
        offered = choose_runtime(replace(environment, runtime="docker"), file).runtime.gpu_methods()
        missing = "the Docker engine here offers no GPU"
    except DockerNotAvailable as error:
        offered, missing = (), error.message
    if not offered:
        yield Notice("warning", f"{missing}: the file asks for GPUs by device requests, which suits most hosts")
    return offered or USUAL_GPU_METHODS


def _rendered_engines(folder: Path) -> list[Path]:
    return [path for path in sorted((folder / "engines").glob("*.yaml")) if path.read_text("utf-8").startswith(MARK)]
