"""Prompts of a given length in tokens, of which no two begin alike, so that no cache shortens the work."""

import secrets
from dataclasses import dataclass
from typing import Any

from pmpctl.smoke import prompts
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE
from pmpctl.smoke.models import count_tokens

_LINE = "The harbour was quiet in the morning, and the boats came back one by one.\n"
_CALIBRATION_LINES = 16
_MOST_CORRECTIONS = 4
# The part of the wanted length that is given up where nobody counts a prompt beforehand.
_UNCOUNTED_MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """`tokens` as the API counts them; about so many where it does not count before it answers."""

    messages: list[prompts.Message]
    tokens: int


class PromptMaker:
    """Learns from the API how many tokens a line takes; raises Failed where it tells nothing of that."""

    def __init__(self, api: Api) -> None:
        self._api = api
        beginning = _beginning()
        short, longer = _messages(beginning, 0), _messages(beginning, _CALIBRATION_LINES)
        counted = count_tokens(api, short)
        self._counts_beforehand = counted is not None
        self._base = counted or self._used(short)
        self._per_line = ((count_tokens(api, longer) or self._used(longer)) - self._base) / _CALIBRATION_LINES
        if self._per_line <= 0:
            raise Failed("the API counts no more tokens for a longer prompt", API_CURE)

    def make(self, tokens: int) -> LongPrompt:
        """As near below `tokens` as a line is long."""
        wanted = tokens if self._counts_beforehand else round(tokens * (1 - _UNCOUNTED_MARGIN))
        beginning = _beginning()
        lines = self._lines(wanted - self._base)
        messages = _messages(beginning, lines)
        for _ in range(_MOST_CORRECTIONS):
            counted = count_tokens(self._api, messages)
            if counted is None:
                break
            if wanted - 2 * self._per_line < counted <= wanted or lines == 0:
                return LongPrompt(messages, counted)
            # Rounded down, a correction never leads beyond what is wanted.
            lines = max(0, lines + int((wanted - counted) // self._per_line))
            messages = _messages(beginning, lines)
        return LongPrompt(messages, round(self._base + lines * self._per_line))

    def _lines(self, tokens: float) -> int:
        return max(0, int(tokens // self._per_line))

    def _used(self, messages: list[prompts.Message]) -> int:
        usage: Any = self._api.chat(messages, max_tokens=1, temperature=0).usage or {}
        tokens = usage.get("prompt_tokens")
        if not isinstance(tokens, int) or tokens < 1:
            raise Failed(
                "the API tells nowhere how many tokens a prompt has: neither /tokenize nor usage.prompt_tokens",
                API_CURE,
            )
        return tokens


def _beginning() -> str:
    return f"Note {secrets.token_hex(8)}"


def _messages(beginning: str, lines: int) -> list[prompts.Message]:
    return [prompts.user(f"{beginning}\n{_LINE * lines}\n{prompts.SAY_OK}")]
