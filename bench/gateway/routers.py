"""The gateways made for models that come from the Python registry, each in an environment of its own."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.gateway import wire
from bench.gateway.server import Candidate, Launch, Site, find_free_port

# LiteLLM takes about a millisecond for each chunk, and ten for each request: more streams would only wait.
_LITELLM_IDLE_LIMIT = 300
_LITELLM_PACED_LIMIT = 16


def vllm_router(cache: Path) -> Candidate:
    return Candidate("vllm-router", partial(_install, "vllm-router", cache), partial(_launch_vllm_router, cache))


def sglang_router(cache: Path) -> Candidate:
    return Candidate("sglang-router", partial(_install, "sglang-router", cache), partial(_launch_sglang_router, cache))


def litellm(cache: Path) -> Candidate:
    install, launch = partial(_install, "litellm[proxy]", cache), partial(_launch_litellm, cache)
    return Candidate("litellm", install, launch, _LITELLM_IDLE_LIMIT, _LITELLM_PACED_LIMIT)


def _install(requirement: str, cache: Path) -> str:
    package = requirement.partition("[")[0]
    python = cache / package / "bin" / "python"
    ask = [str(python), "-c", f"from importlib.metadata import version; print(version({package!r}))"]
    if not python.exists() or subprocess.run(ask, capture_output=True, check=False).returncode:
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache / package], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True, stderr=subprocess.DEVNULL)
    answer: str = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    return answer.strip()


def _launch_vllm_router(cache: Path, site: Site) -> Launch:
    """It checks no tokens of clients: its key is the one it shows to the engine."""
    program = cache / "vllm-router" / "bin" / "vllm-router"
    return Launch([program, *_router_arguments(site), "--log-level", "warning"])


def _launch_sglang_router(cache: Path, site: Site) -> Launch:
    program = cache / "sglang-router" / "bin" / "sglang-router"
    return Launch([program, "launch", *_router_arguments(site), "--log-level", "warn", "--api-key", wire.TOKEN])


def _router_arguments(site: Site) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(site.port), "--prometheus-port", str(find_free_port())]
    return [*where, "--worker-urls", site.upstream_url, "--policy", "round_robin"]


def _launch_litellm(cache: Path, site: Site) -> Launch:
    config = site.folder / "config.yaml"
    engine = {"model": "openai/llm", "api_base": f"{site.upstream_url}/v1", "api_key": "none"}
    # JSON is YAML.
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "llm", "litellm_params": engine}],
                "general_settings": {"master_key": wire.TOKEN},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    program = cache / "litellm" / "bin" / "litellm"
    where = ["--host", "127.0.0.1", "--port", str(site.port)]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Launch([program, "--config", config, *where, "--num_workers", "1"], environment)
