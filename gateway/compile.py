"""Makes a copy of the gateway whose hot path is compiled to C: python compile.py FOLDER

It needs what stands in requirements-build.in, and Python's headers. FOLDER/pmp_gateway then is for Pythons of the same
version as this one; the sources stay beside the compiled modules, for tracebacks.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

PACKAGE = "pmp_gateway"
# What each request or each chunk passes through. Not protocol and pipelining: their base class is no compiled one; nor
# log_writer, where `_thread` would be a name of C's.
MODULES = (
    "access_log",
    "attempts",
    "auth",
    "body",
    "body_intake",
    "body_media",
    "body_shape",
    "client_answer",
    "crowd",
    "engine_answer",
    "engine_connection",
    "engine_errors",
    "exchange",
    "failures",
    "gateway",
    "headers",
    "limits",
    "metrics",
    "models",
    "origins",
    "passing",
    "patience",
    "relay",
    "request_head",
    "request_reader",
    "routes",
    "state",
    "traffic",
    "upstream",
    "waiting",
)

_SOURCES = Path(__file__).resolve().parent / "src"
# More than -O1 gains nothing here and takes longer.
_FLAGS = ("-O1", "-DNDEBUG", "-fwrapv", "-fPIC", "-pthread", "-shared", "-s", "-w")


class _Library(Protocol):
    """What mypyc wants to have built."""

    name: str
    sources: list[str]
    include_dirs: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="is made anew")
    parser.add_argument("--python", default=sys.executable, help="has what the gateway imports, if this one has not")
    given = parser.parse_args()
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        sys.stderr.write("Python's headers are missing: on Debian they are in python3-dev\n")
        return 1
    if given.folder is not None:
        compile_into(given.folder.resolve(), given.python)
    return 0


def compile_into(folder: Path, python: str) -> None:
    from mypyc.build import mypycify

    with tempfile.TemporaryDirectory(prefix="pmp-gateway-") as work:
        copy = Path(work, "copy")
        shutil.copytree(_SOURCES / PACKAGE, copy / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        # mypy takes the package from where it stands, whatever else is installed under its name.
        os.chdir(copy)
        options = [
            "--config-file=",
            "--ignore-missing-imports",
            f"--python-executable={python}",
            f"--cache-dir={work}/cache",
        ]
        paths = [f"{PACKAGE}/{name}.py" for name in MODULES]
        _build(mypycify([*options, *paths], target_dir=f"{work}/c", group_name=PACKAGE))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(copy, folder)


def _build(libraries: list[_Library]) -> None:
    """One shared library with all the code, and a small one for each module."""
    folders = [sysconfig.get_path("include"), *(folder for each in libraries for folder in each.include_dirs)]
    compile_and_link = [*_compiler(), *_FLAGS, *(f"-I{folder}" for folder in dict.fromkeys(folders))]

    def build(library: _Library) -> None:
        target = library.name.replace(".", "/") + sysconfig.get_config_var("EXT_SUFFIX")
        subprocess.run([*compile_and_link, "-o", target, *library.sources], check=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(build, libraries))


def _compiler() -> list[str]:
    if named := os.environ.get("CC"):
        return named.split()
    if find_spec("ziglang"):
        # For any machine of this kind, not only for the very one that it is built on.
        return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]
    return ["cc"]


if __name__ == "__main__":
    sys.exit(main())
