"""The engine's container or process."""

import hashlib
import re
from collections.abc import Mapping

from pmpctl.errors import PlanInvalid
from pmpctl.planning.context import ENGINE_ALIAS, Context, is_local
from pmpctl.planning.engine_args import EnginePaths, engine_args
from pmpctl.planning.gpu import gpu_in_docker, gpu_without_docker
from pmpctl.planning.host import LocalFile
from pmpctl.planning.images import engine_image, vllm_version
from pmpctl.planning.plan import UNLESS_CRASH_LOOP, HealthCheck, Mount, PortBinding, Unit
from pmpctl.profiles.model import HostSettings

GIB = 1024**3

# The gateway keeps the profile's own limit; the engine's is wider, so that a new limit seldom means a new engine.
MAX_N_SEQUENCES = 128

# Inside the container; the Hugging Face cache lies where vLLM's image has always looked for it.
HUB_CACHE = "/root/.cache/huggingface"
COMPILE_CACHE = "/var/cache/pmpctl"
SECRETS = "/run/secrets/pmpctl"
HUB_TOKEN_FILE = "hf_token"  # noqa: S105 (a file's name)

_CREDENTIALS = re.compile(r"://[^/?#]*@")


def engine_unit(context: Context, names: tuple[str, ...]) -> Unit:
    profile, host, facts = context.profile, context.host, context.facts
    image = engine_image(profile, host)
    paths, mounts = _engine_files(context)
    args = engine_args(
        profile,
        paths=paths,
        served_names=names,
        host="0.0.0.0" if context.in_docker else "127.0.0.1",  # noqa: S104 (published on loopback only)
        port=host.engine_port,
        version=vllm_version(image) if context.in_docker else None,
    )
    env = {
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_MAX_N_SEQUENCES": str(max(MAX_N_SEQUENCES, profile.requests.max_n)),
        **_cache_environment(context),
        **_hub_environment(context),
    }
    if is_local(profile.model):
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    health_url = f"http://127.0.0.1:{host.engine_port}/health"
    if not context.in_docker:
        env["HF_TOKEN_PATH"] = str(context.workspace.secrets_dir / HUB_TOKEN_FILE)
        return Unit(
            role="engine",
            name="engine",
            image="",
            argv=(str(facts.engine_program), "serve", *args),
            env=env,
            labels={},
            health_url=health_url,
            ports=(PortBinding("127.0.0.1", host.engine_port, host.engine_port),),
            gpu=gpu_without_docker(context),
            restart=UNLESS_CRASH_LOOP,
            stop_timeout_seconds=60,
        )
    # Mounted whether there is a token or not, so that a token that comes later changes no plan.
    env["HF_TOKEN_PATH"] = f"{SECRETS}/{HUB_TOKEN_FILE}"
    mounts += (Mount("bind", str(context.workspace.secrets_dir), SECRETS, read_only=True),)
    return Unit(
        role="engine",
        name=f"pmpctl-{context.workspace.id}-engine",
        image=image,
        argv=("vllm", "serve", *args),
        env=env,
        labels={},
        health_url=health_url,
        mounts=mounts,
        ports=(PortBinding("127.0.0.1", host.engine_port, host.engine_port),),
        network=context.network,
        network_alias=ENGINE_ALIAS,
        gpu=gpu_in_docker(context),
        shm_size_bytes=int(profile.shm_size_gib * GIB),
        memlock_bytes=_memlock(host),
        # Root without this capability could not write into a cache that belongs to the user.
        cap_add=("DAC_OVERRIDE",),
        health=HealthCheck(
            argv=("python3", "-c", f"import urllib.request as u; u.urlopen('{health_url}', timeout=5)"),
            interval_seconds=15,
            timeout_seconds=10,
            retries=4,
            start_period_seconds=profile.start_timeout,
        ),
        restart=UNLESS_CRASH_LOOP,
        stop_timeout_seconds=60,
    )


def _engine_files(context: Context) -> tuple[EnginePaths, tuple[Mount, ...]]:
    """Paths as the engine sees them, and the mounts for them; a file's digest in its path makes the hash follow it."""
    profile, facts = context.profile, context.facts
    mounts: list[Mount] = []
    if context.in_docker:
        mounts += [
            Mount("bind", str(context.workspace.root / context.host.models_dir), HUB_CACHE),
            Mount("volume", _compile_volume(context), COMPILE_CACHE),
        ]

    def place(value: str | None, target: str) -> str | None:
        if value is None:
            return None
        local: LocalFile = facts.files[value]
        if not context.in_docker:
            return str(local.path)
        target = target.format(digest=local.digest)
        mounts.append(Mount("bind", str(local.path), target, read_only=True))
        return target

    model = place(profile.model, "/srv/model") if is_local(profile.model) else profile.model
    paths = EnginePaths(
        model=model or profile.model,
        chat_template=place(profile.chat_template, "/srv/chat-template-{digest}.jinja"),
        tool_parser_plugin=place(profile.tool_parser_plugin, "/srv/tool-parser-{digest}.py"),
    )
    return paths, tuple(mounts)


def _compile_volume(context: Context) -> str:
    """Compiled code is trusted when it is loaded, so no two images and no two workspaces share it."""
    image = engine_image(context.profile, context.host)
    return f"pmpctl-{context.workspace.id}-compile-{hashlib.sha256(image.encode()).hexdigest()[:8]}"


def _cache_environment(context: Context) -> dict[str, str]:
    if context.in_docker:
        root, hub = COMPILE_CACHE, HUB_CACHE
    else:
        root = str(context.workspace.cache_dir / "compile")
        hub = str(context.workspace.root / context.host.models_dir)
    return {
        "HF_HOME": hub,
        "VLLM_CACHE_ROOT": f"{root}/vllm",
        "TRITON_CACHE_DIR": f"{root}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{root}/inductor",
    }


def _hub_environment(context: Context) -> Mapping[str, str]:
    """Raises PlanInvalid for a secret in an address: whoever may look at the engine could read it."""
    for name, value in context.facts.hub_environment.items():
        if _CREDENTIALS.search(value):
            raise PlanInvalid(
                f"the address in {name} holds a user name or a password, which would stand readable in the engine's "
                "environment",
                cure=f"Leave it out of {name}, and set HF_TOKEN: that reaches the engine as a file.",
            )
    return context.facts.hub_environment


def _memlock(host: HostSettings) -> int | None:
    return -1 if host.memlock == "unlimited" else host.memlock
