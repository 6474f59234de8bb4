"""The few questions that pmpctl itself asks the engine over HTTP."""

from dataclasses import dataclass
from typing import Self

import httpx


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of the engine's /v1/models; `root` is what the engine was told to load."""

    id: str
    root: str | None
    max_model_len: int | None


class EngineApi:
    """Each answer is None while the engine does not give one: a caller that waits asks again."""

    def __init__(self, url: str) -> None:
        # The user's proxy settings are for the network outside, never for the engine beside us.
        self._client = httpx.Client(base_url=url, timeout=5, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_healthy(self) -> bool:
        response = self._get("/health")
        return response is not None and response.status_code == httpx.codes.OK

    def version(self) -> str | None:
        response = self._get("/version")
        try:
            return str(response.json()["version"]) if response is not None else None
        except (ValueError, KeyError, TypeError):
            return None

    def models(self) -> tuple[ServedModel, ...] | None:
        response = self._get("/v1/models")
        try:
            if response is None or response.status_code != httpx.codes.OK:
                return None
            return tuple(
                ServedModel(str(entry["id"]), entry.get("root"), entry.get("max_model_len"))
                for entry in response.json()["data"]
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def generates(self, model: str, timeout_seconds: float) -> str | None:
        """Ask for one token; None when the engine gave it (or does not generate at all), else what it said instead."""
        body = {"model": model, "prompt": "Hello", "max_tokens": 1}
        try:
            response = self._client.post("/v1/completions", json=body, timeout=timeout_seconds)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        if response.status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            return None
        return f"{response.status_code}: {response.text[:300]}"

    def _get(self, path: str) -> httpx.Response | None:
        try:
            return self._client.get(path)
        except httpx.HTTPError:
            return None
