"""The console script: answers the bare help and the version at once, and leaves all else to the Typer application."""

import os
import sys

HELP_FILE = os.path.join(os.path.dirname(__file__), "cli", "help.txt")  # noqa: PTH118, PTH120 - pathlib costs 3 ms


def main() -> int:
    try:
        status = _main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`; Python must not find that out once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 130
    return status


def _main(argv: list[str]) -> int:
    if "_PMPCTL_COMPLETE" not in os.environ:
        if argv in ([], ["-h"], ["--help"]):
            with open(HELP_FILE, encoding="utf-8") as file:  # noqa: PTH123
                sys.stdout.write(file.read())
            return 0
        if argv == ["--version"]:
            from pmpctl import __version__

            sys.stdout.write(f"pmpctl {__version__}\n")
            return 0
    from pmpctl.cli.run import run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
