"""A JSON request body of which one member can be replaced while every other byte stays as the client sent it."""

import json
import re

from pmp_gateway.failures import InvalidJson

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonBody:
    """The top-level object of a body: its `model`, and where in the text that stands."""

    def __init__(self, raw: bytes) -> None:
        self.model: object = None
        self._raw = raw
        self._text = ""
        # Every occurrence: with a repeated key the engine's parser, not ours, decides which one counts.
        self._model_spans: list[tuple[int, int]] = []
        self._first_member = 0
        self._empty = False
        try:
            self._text = raw.decode()
            self._scan()
        except (ValueError, IndexError, RecursionError) as error:
            raise InvalidJson from error

    def naming(self, model: str) -> bytes:
        """The body with `model` as its model, added if there was none."""
        if self.model == model and len(self._model_spans) == 1:
            return self._raw
        value = json.dumps(model)
        if not self._model_spans:
            head, tail = self._text[: self._first_member], self._text[self._first_member :]
            return f'{head}"model":{value}{"" if self._empty else ","}{tail}'.encode()
        parts: list[str] = []
        end_of_last = 0
        for start, end in self._model_spans:
            parts += self._text[end_of_last:start], value
            end_of_last = end
        parts.append(self._text[end_of_last:])
        return "".join(parts).encode()

    def _scan(self) -> None:
        text = self._text
        at = self._expect("{", self._skip_space(0))
        self._first_member = at
        at = self._skip_space(at)
        if text[at] == "}":
            self._empty = True
            at += 1
        else:
            at = self._scan_members(at)
        if self._skip_space(at) != len(text):
            raise InvalidJson

    def _scan_members(self, at: int) -> int:
        text = self._text
        while True:
            key, at = _DECODER.raw_decode(text, at)
            if not isinstance(key, str):
                raise InvalidJson
            start = self._skip_space(self._expect(":", self._skip_space(at)))
            value, end = _DECODER.raw_decode(text, start)
            if key == "model":
                self.model = value
                self._model_spans.append((start, end))
            at = self._skip_space(end)
            if text[at] == "}":
                return at + 1
            at = self._skip_space(self._expect(",", at))

    def _skip_space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _expect(self, character: str, at: int) -> int:
        if self._text[at] != character:
            raise InvalidJson
        return at + 1
