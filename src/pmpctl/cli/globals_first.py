"""Global options may stand after the command, as people type them; the parser wants them before it."""

from collections.abc import Iterable
from typing import Any


def globals_first(args: list[str], parameters: Iterable[Any]) -> list[str]:
    """Move the global options among `parameters` to the front; what follows `--` stays as it is.

    Options that act by themselves, such as --version, are left where they are.
    """
    takes_value = {
        name: not option.is_flag
        for option in parameters
        if option.param_type_name == "option" and option.expose_value and not option.is_eager
        for name in option.opts
    }
    moved: list[str] = []
    rest: list[str] = []
    remaining = iter(args)
    for arg in remaining:
        if arg == "--":
            rest += [arg, *remaining]
            break
        name = arg.split("=", 1)[0] if arg.startswith("--") else arg[:2]
        if name not in takes_value or (arg != name and not takes_value[name]):
            rest.append(arg)
        elif arg != name or not takes_value[name]:
            moved.append(arg)
        else:
            moved += [arg, *([value] if (value := next(remaining, None)) is not None else [])]
    return moved + rest
