"""What pydantic found wrong, in the words of someone who edits the file."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pmpctl.profiles.document import Document, FoundProblem
from pmpctl.profiles.legacy_format import ALIASES
from pmpctl.profiles.lines import KeyPath
from pmpctl.profiles.model import Table
from pmpctl.profiles.suggest import nearest

_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "sequence_str": "a list of texts",
    "is_instance_of": "a list of texts",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


class _Sentence(NamedTuple):
    code: str
    text: str
    cure: str


def problems_of(
    error: ValidationError, document: Document, table: KeyPath, model: type[Table], homes: Mapping[str, str]
) -> Iterator[FoundProblem]:
    """`homes` names the table of every key that is known anywhere."""
    for details in error.errors():
        at, within = table, model
        while len(details["loc"]) > 1 and (below := _table_below(within, str(details["loc"][0]))):
            at, within = (*at, str(details["loc"][0])), below
            details["loc"] = details["loc"][1:]
        key = str(details["loc"][0])
        for code, text, cure in _sentences(details, key, document.key((*at, key)), within, homes):
            yield document.problem(code, at, text, cure, key=key)


def _table_below(model: type[Table], key: str) -> type[Table] | None:
    field = model.model_fields.get(key)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def unknown_key_cure(key: str, known: Iterable[str], homes: Mapping[str, str]) -> str:
    known = list(known)
    likely = ALIASES.get(key) or nearest(key.replace("-", "_"), known)
    if key in homes:
        return f'"{key}" belongs under {homes[key]}.'
    if likely in known:
        return f'Did you mean "{likely}"?'
    return f"Remove it. Known here: {', '.join(known)}."


def _sentences(
    details: ErrorDetails, key: str, written: str, model: type[Table], homes: Mapping[str, str]
) -> Iterator[_Sentence]:
    if details["type"] == "extra_forbidden":
        cure = unknown_key_cure(written, model.model_fields, homes)
        yield _Sentence("unknown_key", f'unknown key "{written}"', cure)
    elif details["type"] == "extra_args":
        for text, cure in details["ctx"]["complaints"]:
            yield _Sentence("extra_args", f'"{written}": {text}', cure)
    else:
        yield _value_sentence(details, key, written, model)


def _value_sentence(details: ErrorDetails, key: str, written: str, model: type[Table]) -> _Sentence:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    place = f'item {int(details["loc"][1]) + 1} of "{written}"' if len(details["loc"]) > 1 else f'"{written}"'
    if kind == "rule":
        return _Sentence("wrong_value", f"{place} {context['text']}", context["cure"])
    if kind == "literal_error":
        choices = [str(choice) for choice in get_args(model.model_fields[key].annotation)]
        # Among few and short words the nearest is a wild guess: "gpu" is near "cpu".
        likely = nearest(value, choices) if isinstance(value, str) and len(choices) > 5 else None
        guess = f'Did you mean "{likely}"? ' if likely else ""
        return _Sentence(
            "wrong_value", f"{place} cannot be {_shown(value)}", f"{guess}Write one of {', '.join(choices)}."
        )
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        wanted = f"must be {word} {context[bound]}"
        return _Sentence("wrong_value", f"{place} {wanted}, not {_shown(value)}", _example(key, written, value, model))
    if kind == "model_type":
        return _Sentence("wrong_type", f"{place} must be a table", "Put its keys into a table of its own.")
    if kind == "string_too_short":
        return _Sentence("wrong_value", f"{place} is empty", f'Remove "{written}", or give it a value.')
    wanted = f"must be {_TYPES[kind]}" if kind in _TYPES else details["msg"]
    return _Sentence("wrong_type", f"{place} {wanted}, not {_shown(value)}", _example(key, written, value, model))


def _example(key: str, written: str, value: Any, model: type[Table]) -> str:
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?|true|false", value):
        return f"Write it without quotes: {written} = {value}."
    field = model.model_fields[key]
    example = field.examples[0] if field.examples else field.default
    return f"Write it like this: {written} = {_shown(example)}."


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
