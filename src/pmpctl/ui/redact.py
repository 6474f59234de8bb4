"""One redactor for everything that is printed: registered secrets, and what looks like one."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

MASK = "***"

_SHORTEST_REGISTERED = 6
_SECRET_VARIABLE = re.compile(r"(TOKEN|SECRET|PASSWORD|API_KEY|ACCESS_KEY)$")
_SECRET_KEY = re.compile(
    r"^(.*[_-])?(token|tokens|secret|password|api[_-]?key|authorization|cookie)$|^x-registry-auth$", re.IGNORECASE
)
_PLACEHOLDER = r"(?![\"']?(?i:bearer\s+)?(?:\$\{?[A-Z_]+\b|<[\w -]{1,40}>))"


class Revealed(str):
    """The secret that a command is there to show: among all data this alone passes as it is."""

    __slots__ = ()


class _Pattern(NamedTuple):
    """Keeps its first group and masks what follows it; $NAME and <name>, in an example to paste, stay.

    Tried only where one of the `hints` stands, as most lines have none. None may start with a repetition: that
    takes quadratic time on long lines.
    """

    hints: tuple[str, ...]
    regex: re.Pattern[str]


_PATTERNS = (
    _Pattern(
        ("authorization", "api-key", "x-registry-auth", "cookie"),
        re.compile(
            r"(?i)((?:authorization|x-api-key|api-key|x-registry-auth|cookie)[\"']?\s*+[:=]\s*+[\"']?+)"
            rf"{_PLACEHOLDER}[^\"'\r\n]+"
        ),
    ),
    _Pattern(
        ("bearer",),
        re.compile(
            rf"(?i)(\bbearer\s++){_PLACEHOLDER}"
            r"(?!(?:tokens?|auth|authentication|authorization|scheme|header)(?:[\s.,;:)]|$))[^\s\"',]+"
        ),
    ),
    _Pattern(("hf_",), re.compile(r"((?<![A-Za-z0-9])hf_)[A-Za-z0-9]{16,}")),
    _Pattern(("sk-",), re.compile(r"((?<![A-Za-z0-9])sk-)[A-Za-z0-9_-]{8,}")),
    _Pattern(("tokens",), re.compile(r"((?<![\w-])tokens[\"']?\s*+[:=]\s*+)\[[^\]]*\]?")),
    _Pattern(
        ("token", "secret", "password", "api_key"),
        re.compile(rf"((?:TOKEN|SECRET|PASSWORD|API_KEY)(?:=|[\"']\s*+:\s*+)[\"']?+){_PLACEHOLDER}[^\s\"',]+"),
    ),
    _Pattern(("--",), re.compile(rf"((?<!\w)--(?:api-key|token|hf-token)[= ]){_PLACEHOLDER}[^\s\"',]+")),
    _Pattern(("://",), re.compile(r"(?i)(https?://)[^\s/?#]+(?=@)")),
    _Pattern(("://",), re.compile(r"(://[^\s/?#:@]+:)[^\s/?#]+(?=@)")),
    _Pattern(
        ("?", "&"),
        re.compile(
            r"(?i)([?&](?:(?:\w+[_-])?token|api[_-]?key|key|sig|signature|x-amz-(?:signature|credential|security-token))=)"
            rf"{_PLACEHOLDER}[^&\s\"']+"
        ),
    ),
)


class Redactor:
    """Knows the secrets of this run; `text` and `data` return what may be shown."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._registered: re.Pattern[str] | None = None
        for secret in secrets:
            self.register(secret)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Redactor":
        """A redactor that knows the value of every variable whose name says that it is a secret."""
        variables = os.environ if environment is None else environment
        return cls(value for name, value in variables.items() if _SECRET_VARIABLE.search(name))

    def register(self, secret: str) -> None:
        """Mask this value wherever it turns up; a very short one would mask half of every page, so it is left out."""
        if len(secret) < _SHORTEST_REGISTERED:
            return
        from urllib.parse import quote

        self._forms |= {secret, quote(secret, safe="", errors="surrogateescape")}
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._registered = re.compile("|".join(re.escape(form) for form in longest_first))

    def text(self, text: str) -> str:
        if self._registered is not None:
            text = self._registered.sub(MASK, text)
        lowered = text.lower()
        for pattern in _PATTERNS:
            if any(hint in lowered for hint in pattern.hints):
                text = pattern.regex.sub(rf"\g<1>{MASK}", text)
        return text

    def data(self, value: Any) -> Any:
        """The same for JSON-ready data: every string, and what stands under a key that names a secret."""
        if isinstance(value, Revealed):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._member(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value

    def _member(self, key: str, value: Any) -> Any:
        if not _SECRET_KEY.match(key) or isinstance(value, Revealed):
            return self.data(value)
        if isinstance(value, str):
            return MASK if value else value
        if isinstance(value, list | tuple):
            return [MASK if isinstance(item, str) else self.data(item) for item in value]
        return self.data(value)
