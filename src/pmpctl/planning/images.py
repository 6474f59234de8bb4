"""Which engine image a profile runs from, and which vLLM that image holds."""

import re

from pmpctl.profiles.model import HostSettings, Profile

VLLM_RELEASE = (0, 32, 0)
"""The vLLM that the default images and the pinned CPU build hold."""

Version = tuple[int, int, int]


def engine_image(profile: Profile, host: HostSettings) -> str:
    if profile.image is not None:
        return profile.image
    return host.cuda_image if profile.device == "cuda" else host.cpu_image


def vllm_version(image: str) -> Version | None:
    """The vLLM release that an image's tag names, such as `vllm/vllm-openai:v0.32.0`; None when it names none."""
    tag = image.split("@", 1)[0].rsplit("/", 1)[-1].partition(":")[2]
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)(?![\d.])", tag)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def version_text(version: Version) -> str:
    return ".".join(map(str, version))
