"""A request's JSON body: read no further than the checks need, held against the policy, written anew.

What goes to the engine is built from the members that were checked, so a doubled or oddly spelled key cannot carry
anything past the checks. Nested values pass byte for byte.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import Raw

from pmp_gateway.body_media import check_media
from pmp_gateway.body_shape import check_depth, check_members, has_more_items
from pmp_gateway.failures import FieldNotAllowed, InvalidJson, ValueTooLarge
from pmp_gateway.request_policy import (
    COUNTED_FIELDS,
    DENIED_FIELDS,
    GRAMMAR_FIELDS,
    MAX_GRAMMAR_BYTES,
    MAX_ITEMS,
    NEVER_ALLOWED,
    RequestPolicy,
)

Members = dict[str, Raw]

_MEMBERS = msgspec.json.Decoder(Members)
_NUMBER = msgspec.json.Decoder(int | float | bool | None)
_TEXT = msgspec.json.Decoder(str)
_ENCODER = msgspec.json.Encoder()
_TRUE = Raw(b"true")
_AUTO = Raw(b'"auto"')
_TOKENS = re.compile(rb"\[\s*[0-9]")
_EMPTY_LIST = re.compile(rb"\[\s*\]")

_NULL = b"null"
# What a denied field may still say: the same as leaving it out.
_ABSENT = frozenset({_NULL, b"false", b"0", b'""', b"{}", b"[]"})

# What the template's renderer would take for its own arguments, instead of for variables of the template.
_RENDERER_ARGUMENTS = frozenset(
    {
        "conversation",
        "max_length",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
_PROMPT_FIELDS = ("data_1", "data_2", "documents", "input", "items", "prompt", "queries", "text_1", "text_2")


class _AnswerLength(NamedTuple):
    """The fields that say how long an answer may be, and how long it is without them; None means endless."""

    fields: tuple[str, ...]
    unsaid: int | None = None


_ANSWER_LENGTHS: Mapping[bytes, _AnswerLength] = MappingProxyType(
    {
        b"/v1/chat/completions": _AnswerLength(("max_completion_tokens", "max_tokens")),
        b"/v1/completions": _AnswerLength(("max_tokens",), unsaid=16),
        b"/v1/responses": _AnswerLength(("max_output_tokens",)),
        b"/v1/messages": _AnswerLength(("max_tokens",)),
    }
)


class Request(NamedTuple):
    path: bytes
    members: Members


Rule = Callable[[str, bytes, Request], None]


class CheckedBody:
    """A body that may go to the engine. It holds on to the bytes it was read from: drop it when they were sent."""

    __slots__ = ("_members", "model", "policy", "raw", "stream")

    def __init__(self, members: Members, raw: bytes | bytearray, policy: RequestPolicy) -> None:
        self._members = members
        self.raw = raw
        self.policy = policy
        self.model = _text(members.get("model"))
        self.stream = members.get("stream") == _TRUE

    @property
    def size_bytes(self) -> int:
        return len(self.raw)

    def naming(self, model: str) -> bytes:
        """The body with `model` as its model."""
        self._members["model"] = Raw(_ENCODER.encode(model))
        return _ENCODER.encode(self._members)


def check_body(path: bytes, raw: bytes | bytearray, policy: RequestPolicy) -> CheckedBody:
    """Raises InvalidJson or a FieldRefused, and nothing else."""
    members = _read(raw)
    check_depth(raw, policy.max_json_depth)
    rules = _rules(policy)
    request = Request(path, members)
    for name, value in members.items():
        rule = rules.get(name)
        if rule is not None:
            rule(name, bytes(value), request)
    check_media(raw, members, policy.media_domains)
    if policy.max_tokens is not None:
        _cap_answer(request, policy.max_tokens)
    if "tools" in members and path == b"/v1/chat/completions":
        _leave_out_no_tools(members)
    return CheckedBody(members, raw, policy)


def _read(raw: bytes | bytearray) -> Members:
    check_members(raw)
    try:
        members = _MEMBERS.decode(raw)
        if not raw.isascii():
            # The decoder passes over strings without a look at their encoding.
            raw.decode()
    except RecursionError as error:
        raise InvalidJson("The request body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson from error
    return members


@lru_cache(maxsize=16)
def _rules(policy: RequestPolicy) -> Mapping[str, Rule]:
    rules: dict[str, Rule] = {
        **dict.fromkeys(DENIED_FIELDS, _deny),
        **dict.fromkeys(COUNTED_FIELDS, partial(_limit_items, MAX_ITEMS)),
        **dict.fromkeys(GRAMMAR_FIELDS, _limit_grammar),
        "chat_template_kwargs": partial(_limit_template_variables, "chat_template" in policy.allow_fields),
        "echo": _deny_prompt_scores,
    }
    for name in policy.allow_fields:
        rules.pop(name, None)
    if "prompt_logprobs" in policy.allow_fields:
        rules.pop("echo", None)
    rules |= dict.fromkeys(("best_of", "n"), partial(_limit_number, policy.max_n))
    rules |= dict.fromkeys(("logprobs", "top_logprobs"), partial(_limit_number, policy.max_logprobs))
    rules |= dict.fromkeys(_PROMPT_FIELDS, partial(_limit_prompts, policy.max_prompts))
    rules |= dict.fromkeys(policy.deny_fields, _deny_all_but_null)
    rules |= dict.fromkeys(NEVER_ALLOWED, _deny)
    return rules


def _deny(name: str, value: bytes, _request: Request) -> None:
    if value not in _ABSENT:
        raise FieldNotAllowed(f"'{name}' is not allowed.", param=name)


def _deny_all_but_null(name: str, value: bytes, _request: Request) -> None:
    if value != _NULL:
        raise FieldNotAllowed(f"'{name}' is not allowed.", param=name)


def _deny_prompt_scores(name: str, value: bytes, request: Request) -> None:
    """An echo is cheap, but together with logprobs the whole vocabulary is scored for each token of the prompt."""
    is_chat = request.path == b"/v1/chat/completions"
    if value not in _ABSENT and (is_chat or "logprobs" in request.members or "logprob_token_ids" in request.members):
        raise FieldNotAllowed(f"'{name}' is not allowed together with logprobs.", param=name)


def _limit_number(limit: int, name: str, value: bytes, _request: Request) -> None:
    number = _number(name, value, limit)
    if number is not None and not 0 <= number <= limit:
        raise _too_large(name, limit)


def _limit_items(limit: int, name: str, value: bytes, _request: Request) -> None:
    if has_more_items(value, limit):
        raise ValueTooLarge(f"'{name}' may hold {limit} items at most.", param=name)


def _limit_prompts(limit: int, name: str, value: bytes, request: Request) -> None:
    # There the input is one conversation, and a list of numbers is one prompt everywhere.
    if request.path != b"/v1/responses" and not _TOKENS.match(value):
        _limit_items(limit, name, value, request)


def _limit_grammar(name: str, value: bytes, _request: Request) -> None:
    if len(value) > MAX_GRAMMAR_BYTES:
        raise ValueTooLarge(f"'{name}' may be {MAX_GRAMMAR_BYTES} bytes long at most.", param=name)


def _limit_template_variables(may_name_template: bool, name: str, value: bytes, request: Request) -> None:
    _limit_grammar(name, value, request)
    try:
        keys = _MEMBERS.decode(value).keys()
    except msgspec.ValidationError:
        return
    refused = _RENDERER_ARGUMENTS if may_name_template else _RENDERER_ARGUMENTS | {"chat_template"}
    if found := sorted(keys & refused):
        raise FieldNotAllowed(f"'{found[0]}' is not allowed in '{name}'.", param=name)


def _cap_answer(request: Request, cap: int) -> None:
    length = _ANSWER_LENGTHS.get(request.path)
    if length is None:
        return
    members = request.members
    asked = {name: _number(name, bytes(members[name]), cap) for name in length.fields if name in members}
    for name, number in asked.items():
        if number is not None and number > cap:
            members[name] = Raw(b"%d" % cap)
    if all(number is None for number in asked.values()):
        members[length.fields[-1]] = Raw(b"%d" % min(cap, length.unsaid or cap))


def _leave_out_no_tools(members: Members) -> None:
    """Clients that always send a list of their tools send an empty one too, and vLLM refuses that."""
    if _EMPTY_LIST.fullmatch(bytes(members["tools"])):
        del members["tools"]
        if members.get("tool_choice") == _AUTO:
            del members["tool_choice"]


def _number(name: str, value: bytes, limit: int) -> float | None:
    try:
        number: float | None = _NUMBER.decode(value)
    except msgspec.DecodeError as error:
        raise _too_large(name, limit) from error
    return number


def _too_large(name: str, limit: int) -> ValueTooLarge:
    return ValueTooLarge(f"'{name}' must be a number from 0 to {limit}.", param=name)


def _text(value: Raw | None) -> str | None:
    if value is None:
        return None
    try:
        text: str = _TEXT.decode(value)
    except msgspec.DecodeError:
        return None
    return text
