"""Where the API is that `smoke` and `bench` ask: the workspace's own gateway, or any address."""

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from pmpctl.errors import NothingRuns, UsageError
from pmpctl.host.addresses import network_addresses
from pmpctl.host.gpus import list_gpus
from pmpctl.operations.environment import Environment
from pmpctl.operations.status import status
from pmpctl.planning.listen import Listener, public_listener
from pmpctl.profiles.model import Profile
from pmpctl.smoke.target import Target

_ROUTE = re.compile(r"/v1(/models|/(chat/)?completions)?$")


@dataclass(frozen=True, slots=True)
class KnownApi:
    """All but the target is what only a workspace knows of the API behind it."""

    target: Target
    profile: str | None = None
    engine: str | None = None
    gpus: tuple[str, ...] = ()
    environment: Environment | None = None


def local_api(environment: Environment, token: str | None, timeout_seconds: float) -> KnownApi:
    """The workspace's own; raises NothingRuns where no gateway serves, UsageError where it wants a token."""
    known = local_api_without_token(environment, timeout_seconds)
    if known.target.auth and token is None:
        raise UsageError(
            "the gateway wants a token, and none was given",
            cure="Give one with --token-file or PMPCTL_TOKEN; `pmpctl token add NAME` makes one.",
        )
    return replace(known, target=replace(known.target, token=token))


def local_api_without_token(environment: Environment, timeout_seconds: float) -> KnownApi:
    """The workspace's own, whatever it wants; raises NothingRuns where no gateway serves."""
    found = status(environment)
    if found.in_flight is None or found.profile is None:
        raise NothingRuns(
            f"no API runs in {environment.workspace.root}: {found.explanation}",
            cure="Start one with `pmpctl up PROFILE`, point --workspace to where it runs, or name an API with --url.",
        )
    file = environment.profile_file()
    listener = public_listener(file.gateway, has_tokens=True)
    target = Target(
        listener.url,
        auth=found.auth,
        max_model_len=found.max_model_len,
        unknown_model=file.gateway.unknown_model,
        engine_around=tuple((host, found.engine_port) for host in _hosts_of(listener)),
        engine_url=f"http://127.0.0.1:{found.engine_port}",
        timeout_seconds=timeout_seconds,
    )
    if found.profile in file.profiles:
        target = as_profile_says(target, file.profile(found.profile))
    version = found.versions.get("vllm")
    gpus = tuple(gpu.name for gpu in list_gpus())
    return KnownApi(target, found.profile, f"vLLM {version}" if version else None, gpus, environment)


def foreign_api(url: str, token: str | None, timeout_seconds: float) -> KnownApi:
    """Any OpenAI-compatible API; raises UsageError for what is no address of one."""
    return KnownApi(Target(base_url(url), token, timeout_seconds=timeout_seconds))


def as_profile_says(target: Target, profile: Profile) -> Target:
    """With what only the profile knows of the engine."""
    return replace(
        target,
        tool_call_parser=profile.tool_call_parser,
        reasoning_parser=profile.reasoning_parser,
        tokenizer_mode=profile.tokenizer_mode,
    )


def _hosts_of(listener: Listener) -> tuple[str, ...]:
    """Under which others reach it; none for one on loopback, where the engine is there for those of this machine."""
    if listener.is_loopback:
        return ()
    return network_addresses() if ip_address(listener.host).is_unspecified else (listener.host,)


def base_url(url: str) -> str:
    """Without the `/v1`, or the route, that clients are given; raises UsageError for what is no address."""
    cure = "Give the base URL of an OpenAI-compatible API, such as https://HOST/v1."
    url = url.strip(" ")
    try:
        # Of itself it would drop line breaks.
        parts = urlsplit(url if url.isprintable() and " " not in url else "")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise UsageError("--url is no address of an API", cure=cure)
    if parts.username or parts.password:
        raise UsageError("--url holds a name or a password, which others could read", cure="Give a token instead.")
    return _ROUTE.sub("", url.rstrip("/")).rstrip("/")
