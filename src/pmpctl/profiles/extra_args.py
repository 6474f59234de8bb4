"""`extra_args`: what a profile adds to vLLM's command line by hand, held against the list of what is harmless."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from pmpctl.profiles.suggest import nearest
from pmpctl.profiles.vllm_flags import LISTS, REFUSED, REFUSED_FAMILIES, SWITCHES, VALUES, Refusal

_NUMBER = re.compile(r"-\d+(\.\d+)?")
_OUTSIDE = ("/", "~", "\\", "file:")
_SEE = 'The arguments that are allowed stand in docs/profiles.md under "extra_args".'


class Complaint(NamedTuple):
    text: str
    cure: str


class _Flag(NamedTuple):
    """One `--flag` with the values that follow it; `path` is what follows a dot, as in `--flag.key`."""

    written: str
    name: str
    path: str
    values: list[str]
    joined: bool


def complaints(args: Sequence[str], fields: Collection[str]) -> Iterator[Complaint]:
    """Everything that is wrong with `args`; `fields` are the profile's own keys, to be used instead of their flags."""
    stray, flags = _split(args)
    for word in stray:
        yield Complaint(f"{_quoted(word)} follows no argument", "Write each argument as --name, followed by its value.")
    for flag in flags:
        if refusal := _refusal(flag.name, fields):
            yield Complaint(f"{_quoted(flag.written)} is not allowed: {refusal.reason}", refusal.cure)
        else:
            yield from _arity(flag)
            yield from _paths(flag)


def _split(args: Sequence[str]) -> tuple[list[str], list[_Flag]]:
    stray: list[str] = []
    flags: list[_Flag] = []
    for word in args:
        if word.startswith("-") and not _NUMBER.fullmatch(word):
            written, equals, value = word.partition("=")
            name, _, path = written.partition(".")
            # vLLM reads --max_num_seqs as --max-num-seqs
            flags.append(_Flag(written, name.replace("_", "-"), path, [value] if equals else [], bool(equals)))
        elif flags and not flags[-1].joined:
            flags[-1].values.append(word)
        else:
            stray.append(word)
    return stray, flags


def _refusal(name: str, fields: Collection[str]) -> Refusal | None:
    """None for an allowed flag; an abbreviation is refused for what it stands for, since vLLM would complete it."""
    allowed = SWITCHES | VALUES | LISTS
    if name in allowed:
        return None
    if not re.match(r"--\w", name):
        return Refusal("only long forms are checked", "Write the long form, such as --seed.")
    field_flags = {f"--{field.replace('_', '-')}": field for field in fields}
    for known in sorted([name, *(flag for flag in (*REFUSED, *field_flags) if flag.startswith(name))], key=len):
        short = "" if known == name else f"it is short for {known}, and "
        if known in field_flags:
            return Refusal(f'{short}it is the field "{field_flags[known]}"', "Set that field.")
        if refusal := REFUSED.get(known) or _family(known):
            return Refusal(short + refusal.reason, refusal.cure)
    longer = next((flag for flag in sorted(allowed) if flag.startswith(name)), None)
    likely = longer or nearest(name, allowed)
    return Refusal("it is not on the list", f'Did you mean "{likely}"? {_SEE}' if likely else _SEE)


def _family(name: str) -> Refusal | None:
    return next((refusal for start, refusal in REFUSED_FAMILIES.items() if name.startswith(start)), None)


def _arity(flag: _Flag) -> Iterator[Complaint]:
    written, count = _quoted(flag.written), len(flag.values)
    if flag.name in SWITCHES:
        if count or flag.path:
            yield Complaint(f"{written} takes no value", "Remove the value.")
    elif not count:
        yield Complaint(f"{written} lacks its value", "Write the value as the next item of the list.")
    elif count > 1 and flag.name not in LISTS:
        yield Complaint(f"{written} takes one value, not {count}", "Write one value, as one item of the list.")


def _paths(flag: _Flag) -> Iterator[Complaint]:
    for value in flag.values:
        if any(_leaves_the_mounts(text) for text in _texts(value)):
            yield Complaint(
                f"the value of {_quoted(flag.written)} names a path outside the mounts: {value}",
                "Name no absolute path, no home folder and no `..`; weights belong under `models_dir` of [host].",
            )


def _leaves_the_mounts(text: str) -> bool:
    """Also inside a list with commas, which vLLM splits after a dotted name that ends in `+`."""
    return ".." in text or any(part.strip().startswith(_OUTSIDE) for part in text.split(","))


def _texts(value: str) -> Iterator[str]:
    """The value itself, and every text inside it if it is JSON."""
    yield value
    try:
        pending: list[Any] = [json.loads(value)]
    except ValueError:
        return
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            yield item


def _quoted(word: str) -> str:
    return json.dumps(word)
