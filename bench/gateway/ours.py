"""Our gateway as its image runs it: compiled, with hashed tokens and limits, access log, control socket, metrics.

And the same interpreted, as it runs without Docker.
"""

import hashlib
import json
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.gateway import wire
from bench.gateway.server import Candidate, Launch, Site

from pmpctl.runtime.gateway_image import gateway_source

NAME = "pmp-gateway"
INTERPRETED = "interpreted"
_OTHER_TOKENS = 7
# Checked at each request but never reached: no visit sends as many as may come at once.
_LIMITS = {"requests_per_minute": 1_000_000, "max_concurrent": 100_000}
_CONTEXT = Path(__file__).parents[2] / "gateway"


def gateway(cache: Path) -> Candidate:
    # What is compiled is for this Python, as an image is for its base.
    folder = cache / f"{NAME}-{gateway_source(sys.version).digest}"
    return Candidate(NAME, partial(_install, folder), partial(_launch, folder))


def interpreted(_cache: Path) -> Candidate:
    return Candidate(INTERPRETED, _version, partial(_launch, _CONTEXT / "src"))


def _install(folder: Path) -> str:
    if not folder.exists():
        subprocess.run([sys.executable, _CONTEXT / "compile.py", folder], check=True, stdout=subprocess.DEVNULL)
    return f"{_version()} (compiled, Python {platform.python_version()})"


def _version() -> str:
    from pmp_gateway import __version__

    return __version__


def _launch(folder: Path, site: Site) -> Launch:
    entries: list[dict[str, object]] = [
        {"name": f"other-{number}", "sha256": _digest(f"sk-other-{number}")} for number in range(_OTHER_TOKENS)
    ]
    entries.append({"name": "bench", "sha256": _digest(wire.TOKEN), **_LIMITS})
    tokens = site.folder / "auth.json"
    tokens.write_text(json.dumps({"tokens": entries}))
    environment = {
        "PYTHONPATH": str(folder),
        "BACKEND_URL": site.upstream_url,
        "AUTH_CONFIG_PATH": str(tokens),
        "PMP_GATEWAY_HOST": "127.0.0.1",
        "PMP_GATEWAY_PORT": str(site.port),
        "PMP_GATEWAY_CONTROL_SOCKET": str(site.folder / "control.sock"),
    }
    return Launch([sys.executable, "-m", "pmp_gateway"], environment)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
