"""What the Docker engine and its client say when something fails -> a PmpctlError with a cure; the rules are data."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3
from docker.errors import APIError, DockerException, StreamParseError

from pmpctl.errors import (
    DiskFull,
    DockerNotAvailable,
    GpuNotAvailable,
    NameConflict,
    PlanInvalid,
    PmpctlError,
    PortTaken,
    RuntimeFailed,
)
from pmpctl.runtime.docker_gpu import INSTALL_TOOLKIT

TIMEOUTS = (requests.Timeout, urllib3.exceptions.TimeoutError)
CONNECTION_ERRORS = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)
CLIENT_ERRORS = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, StreamParseError)
"""All that docker-py lets through; the classes have no base of their own in common."""

UNKNOWN_CURE = "Mend what Docker complains about, then run the command again."


@dataclass(frozen=True, slots=True)
class Rule:
    """`message` and `cure` may use the groups of `pattern`, the whole `reason`, and words that the caller adds."""

    pattern: str
    error: type[PmpctlError]
    message: str
    cure: str


DISK_FULL = Rule(
    r"no space left on device",
    DiskFull,
    "the disk that holds Docker's images and containers is full",
    "Make room: `docker system df` tells what takes it, `docker image prune` removes unused images.",
)

ADDRESS = r"(?:listen \w+ |Bind for |failed to bind host port (?:for )?)(?P<address>\S+?:\d+)\b.*"

RULES = (
    DISK_FULL,
    Rule(
        ADDRESS + r"(?:address already in use|port is already allocated)",
        PortTaken,
        "port {address} is already in use",
        "Stop what holds it (`sudo ss -ltnp` and `docker ps` tell), or choose another port in the profile file.",
    ),
    Rule(
        ADDRESS + r"cannot assign requested address",
        RuntimeFailed,
        "{address} is not an address of this machine",
        "Choose one that `ip address` lists, or 127.0.0.1, for `listen` in the profile file.",
    ),
    Rule(
        r"container name \"/?(?P<name>[^\"]+)\" is already in use",
        NameConflict,
        "a container named {name} exists already",
        "Rename or remove it: `docker rename {name} ...` or `docker rm -f {name}`.",
    ),
    Rule(
        r"could not select device driver \"cdi\"|CDI device injection failed|unresolvable CDI devices",
        GpuNotAvailable,
        "the Docker engine found no such GPU by CDI: {reason}",
        "Create the description anew with `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`; "
        "`nvidia-ctk cdi list` tells the names of the GPUs. CDI needs Docker 25 or newer.",
    ),
    Rule(
        r"could not select device driver|nknown runtime specified nvidia|unknown or invalid runtime name: nvidia",
        GpuNotAvailable,
        "the Docker engine cannot hand out GPUs: {reason}",
        INSTALL_TOOLKIT,
    ),
    Rule(
        r"device error: (?P<device>.+?): unknown device",
        GpuNotAvailable,
        "there is no GPU {device} on this machine",
        "`nvidia-smi -L` lists the GPUs and MIG devices; correct `gpus` in the profile file.",
    ),
    Rule(
        r"nvidia-container-cli: .*",
        GpuNotAvailable,
        "NVIDIA's container toolkit could not hand out the GPU: {reason}",
        "`nvidia-smi` must work on this machine first; after a driver's update, restart the machine.",
    ),
    Rule(
        r"bind source path does not exist: (?P<path>.+)",
        RuntimeFailed,
        "{path} does not exist where the Docker engine runs, and is to be mounted",
        "Create it, or correct the path in the profile file; an engine on another machine cannot see this one's files.",
    ),
    Rule(
        r"error setting rlimit",
        RuntimeFailed,
        "the Docker engine may not raise the limit on locked memory that the profile file asks for",
        "Leave `memlock` out of [host], or raise LimitMEMLOCK of the docker service.",
    ),
    Rule(
        r"invalid reference format",
        PlanInvalid,
        "`image` in the profile file is not an image's name: {reason}",
        "Correct it: REGISTRY/NAME:TAG or NAME@sha256:DIGEST, in lower case.",
    ),
    Rule(
        r"No such image: (?P<image>\S+)",
        RuntimeFailed,
        "the image {image} is not here",
        "Run the command again: it pulls or builds what is missing.",
    ),
    Rule(
        r"docker-init",
        RuntimeFailed,
        "the Docker engine lacks its init program: {reason}",
        "Install it (Debian: `sudo apt install tini`), or Docker anew.",
    ),
    Rule(
        r"exec: \"(?P<program>[^\"]+)\".*(?:no such file or directory|executable file not found)",
        RuntimeFailed,
        "the image holds no program {program}",
        "Check `image` in the profile file: it must be an image of vLLM's server.",
    ),
    Rule(
        r"address pools have been fully subnetted",
        RuntimeFailed,
        "the Docker engine has no address range left for another network",
        "Remove unused networks with `docker network prune`.",
    ),
    Rule(
        r"did not receive an exit event|removal of container .* is already in progress",
        RuntimeFailed,
        "the container does not end: a process in it hangs in the kernel, often in the GPU's driver",
        "Look at `dmesg` for the driver's errors; restart Docker, or the machine if that does not help.",
    ),
    Rule(
        r"Credentials store error",
        RuntimeFailed,
        "the credential helper that Docker's config.json names does not work: {reason}",
        "Mend or remove `credsStore` and `credHelpers` in ~/.docker/config.json.",
    ),
)


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Raise what docker-py lets through as a PmpctlError; `doing` ends the sentence "Docker could not ..."."""
    try:
        yield
    except CLIENT_ERRORS as error:
        raise explained(error, doing) from error


def explained(error: Exception, doing: str) -> PmpctlError:
    if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, APIError):
        return DockerNotAvailable(
            f"the Docker engine stopped answering while it was to {doing}",
            cure="Check that `docker info` answers; restart Docker if it hangs, then run the command again.",
        )
    return explained_text(reason_of(error), doing)


def explained_text(reason: str, doing: str) -> PmpctlError:
    return first_match(RULES, reason) or RuntimeFailed(
        f"Docker could not {doing}: {reason}",
        cure=UNKNOWN_CURE,
    )


def first_match(
    rules: tuple[Rule, ...], reason: str, details: tuple[str, ...] = (), **words: str
) -> PmpctlError | None:
    for rule in rules:
        if found := re.search(rule.pattern, reason, re.IGNORECASE | re.DOTALL):
            known = {"reason": reason, **words, **found.groupdict()}
            return rule.error(rule.message.format(**known), cure=rule.cure.format(**known), details=details)
    return None


def reason_of(error: Exception) -> str:
    """The engine's own words; of an error that a hook passed on, the hook's."""
    text = error.explanation if isinstance(error, APIError) else None
    reason = str(text or error)
    reason = reason.rsplit("stderr: ", 1)[-1]
    reason = re.sub(r"^.*unable to start container process: (?:error during container init: )?", "", reason)
    return reason.removesuffix(": unknown").strip()
