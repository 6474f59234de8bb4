"""Whether a quantized checkpoint's list of modules names one, in any of the spellings that are in use."""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.config_reader import CURE

SPELLINGS = ("model.{}", "{}", "language_model.model.{}", "model.language_model.{}", "language_model.{}")
OUTER_NAMES = ("model.", "language_model.", "backbone.", "transformer.", "decoder.")


def named(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of these names a module, or one around it: "re:" starts an expression, "*" is a wildcard."""
    expressions = [_expression(pattern.removeprefix("re:")) for pattern in patterns if pattern.startswith("re:")]
    globs = [pattern for pattern in patterns if "*" in pattern and not pattern.startswith("re:")]
    paths = {_inner(pattern) for pattern in patterns if "*" not in pattern and not pattern.startswith("re:")}

    def matches(name: str) -> bool:
        steps = name.split(".")
        if paths and any(
            ".".join(steps[i:j]) in paths for i in range(len(steps)) for j in range(i + 1, len(steps) + 1)
        ):
            return True
        if not expressions and not globs:
            return False
        spelled = [spelling.format(name) for spelling in SPELLINGS]
        return any(expression.match(each) for expression in expressions for each in spelled) or any(
            fnmatchcase(each, glob) or fnmatchcase(each, f"{glob}.*") for glob in globs for each in spelled
        )

    return matches


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ModelConfigInvalid(
            f"The quantization in config.json has a pattern that is none: {pattern[:80]!r}", cure=CURE
        ) from error


def _inner(path: str) -> str:
    """Without the names of the wrappers, which differ between the checkpoint, transformers and vLLM."""
    while outer := next((each for each in OUTER_NAMES if path.startswith(each)), None):
        path = path[len(outer) :]
    return path
