"""Images: pulled from their registry, or built here from files; both through the engine's raw event stream.

docker-py's own `pull` hides a failure that the engine reports in the middle of a stream that began with 200.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import Any

from docker.errors import APIError, ImageNotFound

from pmpctl.errors import ImageBuildFailed, ImagePullFailed, PmpctlError
from pmpctl.planning.plan import ImageBuild, Unit
from pmpctl.runtime.base import Progress
from pmpctl.runtime.docker_connect import SILENCE_TIMEOUT_SECONDS, EngineClient
from pmpctl.runtime.docker_errors import DISK_FULL, TIMEOUTS, Rule, engine_errors, first_match, reason_of
from pmpctl.runtime.docker_progress import BuildLog, PullProgress, build_step
from pmpctl.runtime.gateway_image import BASE_IMAGE

PULL_RULES = (
    DISK_FULL,
    Rule(
        r"toomanyrequests|rate limit",
        ImagePullFailed,
        "the registry refuses {image} for now: too many pulls from here",
        "Log in with `{login}`, which raises the limit, or try again later.",
    ),
    Rule(
        r"no matching manifest|does not match the specified platform",
        ImagePullFailed,
        "{image} is not made for this machine's processor",
        "Choose an image for this architecture (`image` in the profile file).",
    ),
    Rule(
        r"manifest unknown|not found|repository does not exist|name unknown",
        ImagePullFailed,
        "there is no image {image}, or you may not see it",
        "Check its name and tag (`image` in the profile file); if it is private, `{login}` first.",
    ),
    Rule(
        r"no basic auth credentials|unauthorized|authentication required|denied",
        ImagePullFailed,
        "the registry does not let you pull {image}: {reason}",
        "Log in with `{login}` as one who may pull it.",
    ),
    Rule(
        r"server gave HTTP response to HTTPS client|x509|certificate",
        ImagePullFailed,
        "the Docker engine does not trust the registry of {image}: {reason}",
        "Give the engine the registry's certificate (/etc/docker/certs.d), or name it under insecure-registries.",
    ),
    Rule(
        r"verification failed|digest|unexpected EOF|failed to register layer|checksum|corrupt|size validation",
        ImagePullFailed,
        "{image} arrived damaged: {reason}",
        "Run the command again. If it fails at the same place, the copy in the registry, or a proxy's on the way, is "
        "damaged.",
    ),
    Rule(
        r"no such host|server misbehaving|connection refused|connection reset|no route to host|unreachable|"
        r"timeout|deadline exceeded|\bEOF\b|unexpected HTTP status: 5|request canceled",
        ImagePullFailed,
        "the registry of {image} cannot be reached: {reason}",
        "Check the network (and the Docker engine's proxy settings), then run the command again.",
    ),
)

BUILD_RULES = (
    DISK_FULL,
    Rule(
        r"name resolution|connection refused|timed out|unreachable|no matching distribution",
        ImageBuildFailed,
        "{image} could not be built: its packages cannot be downloaded",
        "The build needs a Python package index: check the network and Docker's proxy settings, then run it again.",
    ),
)


def ensure_image(client: EngineClient, unit: Unit) -> Iterator[Progress]:
    """Yields nothing if the image is here; raises ImagePullFailed, ImageBuildFailed or DiskFull."""
    if (image := inspect_image(client, unit.image)) is None:
        yield from _build(client, unit.image, unit.build) if unit.build else _pull(client, unit.image)
        image = inspect_image(client, unit.image)
    if image is not None and not unit.build:
        _check_architecture(client, unit.image, image)


def inspect_image(client: EngineClient, image: str) -> dict[str, Any] | None:
    with engine_errors(f"look for the image {image}"):
        try:
            found: dict[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
        return found


def _pull(client: EngineClient, image: str) -> Iterator[Progress]:
    yield Progress(f"Pulling {image}")
    progress = PullProgress(image)
    with engine_errors(f"pull {image}"), client.streaming():
        try:
            for event in client.pull(image, stream=True, decode=True):
                if failure := failure_in(event):
                    raise pull_failed(image, failure)
                if (state := progress.feed(event)) is not None:
                    yield state
        except APIError as error:
            raise pull_failed(image, reason_of(error)) from error
        except TIMEOUTS as error:
            raise pull_failed(image, f"nothing arrived for {SILENCE_TIMEOUT_SECONDS} seconds: timeout") from error


def failure_in(event: dict[str, Any]) -> str:
    detail = event.get("errorDetail") or {}
    return str(detail.get("message") or event.get("error") or "")


def pull_failed(image: str, reason: str) -> PmpctlError:
    first, slash, _ = image.partition("/")
    registry = first if slash and (first == "localhost" or any(mark in first for mark in ".:")) else ""
    login = f"docker login {registry}".strip()
    return first_match(PULL_RULES, reason, image=image, login=login) or ImagePullFailed(
        f"{image} could not be pulled: {reason}", cure=f"Try `docker pull {image}`, which tells more."
    )


def _check_architecture(client: EngineClient, name: str, image: dict[str, Any]) -> None:
    """An image with one architecture only is pulled whatever the machine's is, and its programs then do not run."""
    with engine_errors("tell its architecture"):
        engine = client.version().get("Arch")
    made_for = image.get("Architecture")
    if engine and made_for and made_for != engine:
        raise ImagePullFailed(
            f"{name} is made for {made_for} processors, and this machine's is {engine}",
            cure=f"Choose an image for {engine} (`image` in the profile file) and remove this one with "
            f"`docker image rm {name}`.",
        )


def _build(client: EngineClient, image: str, build: ImageBuild) -> Iterator[Progress]:
    """By the classic builder, the only one that an engine has without a plugin."""
    yield Progress(f"Building {image}", unit="steps")
    log = BuildLog()
    base = PullProgress(build.args.get(BASE_IMAGE, "the base image"))
    with engine_errors(f"build {image}"), client.streaming():
        try:
            events = client.build(
                fileobj=_context(image, build),
                custom_context=True,
                tag=image,
                buildargs=dict(build.args),
                decode=True,
                rm=True,
                forcerm=True,
            )
            for event in events:
                if failure := failure_in(event):
                    raise pull_failed(base.image, failure) if log.wants_base else _build_failed(image, failure, log)
                log.feed(event.get("stream", ""))
                if (state := build_step(event.get("stream", ""), image) or base.feed(event)) is not None:
                    yield state
        except APIError as error:
            raise _build_failed(image, reason_of(error), log) from error
        except TIMEOUTS as error:
            raise _build_failed(image, f"silent for {SILENCE_TIMEOUT_SECONDS} seconds: timed out", log) from error


def _context(image: str, build: ImageBuild) -> io.BytesIO:
    """Owners and times are left out, so that the engine's build cache knows unchanged files again."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for name, path in build.files:
            entry = tarfile.TarInfo(name)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ImageBuildFailed(
                    f"{image} could not be built: {path} cannot be read ({error.strerror})",
                    cure="Install pmpctl anew; a file of it is missing or not readable.",
                ) from error
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    memory.seek(0)
    return memory


def _build_failed(image: str, reason: str, log: BuildLog) -> PmpctlError:
    lines = log.relevant_lines()
    known = first_match(BUILD_RULES, "\n".join((*lines, reason)), lines, image=image)
    return known or ImageBuildFailed(
        f"{image} could not be built: {reason}",
        cure="Mend what the lines of the build name, then run the command again.",
        details=lines,
    )
