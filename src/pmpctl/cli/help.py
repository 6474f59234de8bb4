"""The text of `pmpctl --help` as a file, so that it is shown without loading Typer.

Regenerate it with `python -m pmpctl.cli.help > src/pmpctl/cli/help.txt`.
"""

import sys

from pmpctl.cli.app import command

WIDTH = 100


def help_text() -> str:
    root = command()
    with root.make_context("pmpctl", [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH) as ctx:
        return root.get_help(ctx) + "\n"


if __name__ == "__main__":
    sys.stdout.write(help_text())
