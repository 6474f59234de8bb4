"""What a value of the profile file must look like beyond its type; each rule says what is wrong and what cures it."""

import ipaddress
import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pmp_gateway.control_schema import ALLOWABLE_FIELDS
from pmpctl.profiles.suggest import nearest
from pmpctl.profiles.templates import BUILTIN, builtin_templates

PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
RESERVED_NAME = "llm"

_HUB_ID = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
_MODEL = re.compile(rf"{_HUB_ID}|(?:/|\./|\.\./).+|builtin:demo")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:-]*")
_IMAGE = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9._/-]|:[0-9]+/)*)(?::(?P<tag>[A-Za-z0-9_][\w.-]*))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_LISTEN = re.compile(r"(?:\[(?P<v6>[^]%]+)\]|(?P<v4>[^:]+)):(?P<port>[0-9]{1,5})")
_GPU = re.compile(r"\d+(?::\d+)?|GPU-[0-9A-Za-z-]+|MIG-[0-9A-Za-z/-]+")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# As browsers write it: no path, and no port that the scheme means anyway. `*` is every page.
_ORIGIN = re.compile(
    r"\*|(?!http://[^/]*:80$|https://[^/]*:443$)[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_REQUEST_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"})


def broken(text: str, cure: str) -> PydanticCustomError:
    """`text` continues a sentence that begins with the key."""
    return PydanticCustomError("rule", "{text}", {"text": text, "cure": cure})


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _model(value: str) -> str:
    if not _MODEL.fullmatch(value):
        raise broken(
            f"names no model: {_shown(value)}",
            'Write a Hugging Face repository as "owner/name", a folder beginning with "/", "./" or "../", '
            'or "builtin:demo".',
        )
    return value


def _image(value: str) -> str:
    match = _IMAGE.fullmatch(value)
    if not match:
        raise broken(f"is no image reference: {_shown(value)}", 'Write it as "registry/name:tag", in lower case.')
    if not match["digest"] and match["tag"] in (None, "latest"):
        raise broken(
            f"names no fixed release: {_shown(value)}",
            f'Pin a release, such as "{match["name"]}:TAG" or "{match["name"]}@sha256:...".',
        )
    return value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise broken(
            f"is no plain word: {_shown(value)}",
            "Use letters, digits and `._-/:` only, and begin with a letter or digit.",
        )
    return value


def _auto_is_none(value: Any) -> Any:
    return None if value == "auto" else value


def _chat_template(value: str) -> str:
    if not value.startswith(BUILTIN):
        return value
    ours = [BUILTIN + name for name in builtin_templates()]
    if value not in ours:
        likely = nearest(value, ours)
        raise broken(
            f"names no template of ours: {_shown(value)}",
            f'Did you mean "{likely}"?' if likely else f"Write a file's path, or one of {', '.join(ours)}.",
        )
    return value


def _listen(value: str) -> str:
    match = _LISTEN.fullmatch(value)
    if not match or not 0 < int(match["port"]) < 65536 or not _is_host(match["v4"], match["v6"]):
        raise broken(
            f"is no address and port: {_shown(value)}",
            'Write an IP address and a port, such as "127.0.0.1:8000", "0.0.0.0:8000" or "[::1]:8000".',
        )
    return value


def _is_host(v4: str | None, v6: str | None) -> bool:
    try:
        return v4 == "localhost" or bool(ipaddress.IPv6Address(v6) if v6 else ipaddress.IPv4Address(v4))
    except ipaddress.AddressValueError:
        return False


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise broken(f"holds no header name: {_shown(value)}", 'Write the name alone, such as "X-Request-Id".')
    if value.lower() in _SECRET_HEADERS:
        raise broken(f"would write secrets into the log: {_shown(value)}", "Remove that header.")
    return value


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise broken(
            f"holds no origin of web pages: {_shown(value)}",
            'Write it as browsers send it, in lower case and without a path, such as "https://chat.example", '
            'or "*" for every page.',
        )
    return value


def _host_name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value):
        raise broken(
            f"holds no host name: {_shown(value)}", 'Write the name alone, without a port, such as "gpu.example.com".'
        )
    return value


def _allowable_field(value: str) -> str:
    if value not in ALLOWABLE_FIELDS:
        likely = nearest(value, ALLOWABLE_FIELDS)
        raise broken(
            f"names no field that can be allowed: {_shown(value)}",
            f'Did you mean "{likely}"?' if likely else f"Write one of {', '.join(sorted(ALLOWABLE_FIELDS))}.",
        )
    return value


def _request_field(value: str) -> str:
    if not _REQUEST_FIELD.fullmatch(value):
        raise broken(f"names no field of a request: {_shown(value)}", 'Write it as in the API, such as "logit_bias".')
    return value


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise broken(
            f"is no host name: {_shown(value)}",
            'Write the host alone and in lower case, such as "upload.wikimedia.org".',
        )
    return value


def _gpus(value: Any) -> Any:
    if value == "all":
        return value
    if not isinstance(value, list | tuple) or not value or not all(_is_gpu(item) for item in value):
        raise broken(
            f"names no GPUs: {_shown(value)}",
            'Write "all", or a list of indices and identifiers, such as [0, 1] or ["GPU-...", "MIG-..."].',
        )
    return tuple(value)


def _is_gpu(item: Any) -> bool:
    if isinstance(item, str):
        return _GPU.fullmatch(item) is not None
    return isinstance(item, int) and not isinstance(item, bool) and item >= 0


def _memlock(value: Any) -> Any:
    if value in ("unlimited", None) or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise broken(f"is no limit: {_shown(value)}", 'Write "unlimited" or a number of bytes.')


def _docker_host(value: str) -> str:
    if not value.startswith(("unix://", "tcp://", "ssh://")):
        raise broken("is no Docker address", 'Write it as "unix:///path", "tcp://host:port" or "ssh://user@host".')
    return value


def _schema(pattern: re.Pattern[str]) -> Any:
    """The rule as editors can check it, beside the validator that words the complaint."""
    return Field(min_length=1, json_schema_extra={"pattern": f"^(?:{pattern.pattern})$"})


Text = Annotated[str, Field(min_length=1)]
Word = Annotated[str, _schema(_WORD), AfterValidator(_word)]
WordOrAuto = Annotated[Word | None, BeforeValidator(_auto_is_none)]
ModelName = Annotated[str, _schema(_MODEL), AfterValidator(_model)]
ImageReference = Annotated[str, Field(min_length=1), AfterValidator(_image)]
ChatTemplate = Annotated[str, Field(min_length=1), AfterValidator(_chat_template)]
Listen = Annotated[str, Field(min_length=1), AfterValidator(_listen)]
Header = Annotated[str, _schema(_HEADER), AfterValidator(_header)]
Origin = Annotated[str, _schema(_ORIGIN), AfterValidator(_origin)]
HostName = Annotated[str, _schema(_HOST_NAME), AfterValidator(_host_name)]
AllowableField = Annotated[
    str, Field(json_schema_extra={"enum": sorted(ALLOWABLE_FIELDS)}), AfterValidator(_allowable_field)
]
RequestField = Annotated[str, _schema(_REQUEST_FIELD), AfterValidator(_request_field)]
Domain = Annotated[str, _schema(_DOMAIN), AfterValidator(_domain)]
Gpus = Annotated[Literal["all"] | tuple[str | int, ...], BeforeValidator(_gpus)]
Memlock = Annotated[Literal["unlimited"] | int | None, BeforeValidator(_memlock)]
DockerHost = Annotated[str, Field(min_length=1), AfterValidator(_docker_host)]
Port = Annotated[int, Field(gt=0, lt=65536)]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
PositiveGib = Annotated[float, Field(gt=0, allow_inf_nan=False)]
