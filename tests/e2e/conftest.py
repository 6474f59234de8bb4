"""One real engine and one gateway before it, shared by all tests that leave them as they were."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs
from tests.e2e.engine import Engine
from tests.e2e.litellm_client import LiteLLM
from tests.unit.gateway.gateway_process import GatewayProcess

TOKEN = "a-token-of-the-guarded-gateway"


@pytest.fixture(scope="session")
def engine(vllm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(vllm_program, tmp_path_factory.mktemp("engine"))
    try:
        engine.wait_until_healthy()
        yield engine
        engine.stop()
    finally:
        engine.kill()


@pytest.fixture(scope="session")
def gateway(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Open to everybody, as a gateway without tokens is."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), engine.url, {})
    try:
        gateway.wait_until_listening()
        yield gateway
    finally:
        gateway.kill()


@pytest.fixture(scope="session")
def guarded_gateway(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Lets in who has TOKEN, and serves only models that there are."""
    folder = tmp_path_factory.mktemp("guarded-gateway")
    tokens = folder / "auth.json"
    tokens.write_text(json.dumps({"tokens": [TOKEN]}))
    environment = {"AUTH_CONFIG_PATH": str(tokens), "PMP_GATEWAY_UNKNOWN_MODEL": "reject"}
    gateway = GatewayProcess(folder, engine.url, environment)
    try:
        gateway.wait_until_listening()
        yield gateway
    finally:
        gateway.kill()


@pytest.fixture(scope="session")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLM]:
    client = LiteLLM(needs.require(needs.litellm_python), tmp_path_factory.mktemp("litellm"))
    # Its first call loads much of it, which is no part of what tests time.
    list(client.stream("acompletion", model="openai/llm", api_key="any", messages=[], mock_response="Hello"))
    yield client
    client.close()
