"""Our gateway as it is run in earnest: several hashed tokens with limits, access log, control socket, metrics."""

import hashlib
import json
import sys

from bench.gateway import wire
from bench.gateway.server import Candidate, Launch, Site

NAME = "pmp-gateway"
_OTHER_TOKENS = 7
# Checked at each request but never reached: no visit sends as many as may come at once.
_LIMITS = {"requests_per_minute": 1_000_000, "max_concurrent": 100_000}


def _installed() -> str:
    from pmp_gateway import __version__

    return __version__


def _launch(site: Site) -> Launch:
    entries: list[dict[str, object]] = [
        {"name": f"other-{number}", "sha256": _digest(f"sk-other-{number}")} for number in range(_OTHER_TOKENS)
    ]
    entries.append({"name": "bench", "sha256": _digest(wire.TOKEN), **_LIMITS})
    tokens = site.folder / "auth.json"
    tokens.write_text(json.dumps({"tokens": entries}))
    environment = {
        "BACKEND_URL": site.upstream_url,
        "AUTH_CONFIG_PATH": str(tokens),
        "PMP_GATEWAY_HOST": "127.0.0.1",
        "PMP_GATEWAY_PORT": str(site.port),
        "PMP_GATEWAY_CONTROL_SOCKET": str(site.folder / "control.sock"),
    }
    return Launch([sys.executable, "-m", "pmp_gateway"], environment)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


CANDIDATE = Candidate(NAME, _installed, _launch)
