"""The files that the gateway's image is built from, as they lie in a checkout or in an installed package."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pmpctl.errors import ImageBuildFailed
from pmpctl.planning.plan import ImageBuild

BASE_IMAGE = "BASE_IMAGE"
"""The build argument that names the image to build on."""

PACKAGE = "pmp_gateway"
_RECIPE = ("Dockerfile", "compile.py", "requirements.lock", "requirements-build.lock")


@dataclass(frozen=True, slots=True)
class GatewaySource:
    """`files` are the build's context as (name in it, path here); `digest` follows their content and the base image.

    They all lie in one folder as named, so that `docker build` or a compose file can take it for its context.
    """

    files: tuple[tuple[str, Path], ...]
    digest: str
    base_image: str

    @property
    def image(self) -> str:
        return f"pmpctl-gateway:{self.digest}"

    @property
    def build(self) -> ImageBuild:
        return ImageBuild(self.files, {BASE_IMAGE: self.base_image})


def gateway_source(base_image: str) -> GatewaySource:
    """Finds the gateway without importing it; raises ImageBuildFailed for an installation that lacks a part."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise _incomplete(f"the package {PACKAGE} is not installed")
    return source_of(Path(spec.origin).parent, base_image)


def source_of(package: Path, base_image: str) -> GatewaySource:
    folder = next((place for place in _context_places(package) if (place / "Dockerfile").is_file()), None)
    if folder is None:
        raise _incomplete(f"there is no Dockerfile for {package}")
    sources = folder / "src" / PACKAGE
    paths = [*(folder / name for name in _RECIPE), sources / "py.typed", *sources.rglob("*.py")]
    files = tuple(sorted((path.relative_to(folder).as_posix(), path) for path in paths))
    return GatewaySource(files, _digest(files, base_image), base_image)


def _context_places(package: Path) -> tuple[Path, Path]:
    """An installed package carries the build's context, which in a checkout is the folder `gateway`."""
    return (package / "_image", package.parent.parent)


def _digest(files: tuple[tuple[str, Path], ...], base_image: str) -> str:
    total = hashlib.sha256(base_image.encode())
    for name, path in files:
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise _incomplete(f"{path} cannot be read ({error.strerror})") from error
        total.update(f"\n{name} {content}".encode())
    return total.hexdigest()[:12]


def _incomplete(what: str) -> ImageBuildFailed:
    return ImageBuildFailed(f"the gateway's image cannot be built: {what}", cure="Install pmpctl anew.")
