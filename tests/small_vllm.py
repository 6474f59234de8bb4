"""A virtual environment with a vLLM that has no more than a command line to check arguments with."""

import subprocess
import sys
import textwrap
from pathlib import Path

MAIN = """
import argparse, pathlib
from vllm.entrypoints.cli.serve import ServeSubcommand

def main():
    pathlib.Path({calls!r}).open("a").write("asked\\n")
    print("a line of the log that ends in no verdict")
    parser = argparse.ArgumentParser(prog="vllm serve")
    parser.add_argument("serve")
    parser.add_argument("model_tag")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--chat-template")
    parser.add_argument("--served-model-name", nargs="+")
    for name in ("--port", "--seed", "--tensor-parallel-size"):
        parser.add_argument(name, type=int)
    for name in ("--host", "--gpu-memory-utilization"):
        parser.add_argument(name)
    for name in ("--enforce-eager", "--disable-fastapi-docs"):
        parser.add_argument(name, action="store_true")
    args = parser.parse_args()
    command = ServeSubcommand()
    command.validate(args)
    command.cmd(args)
"""

SERVE = """
class ServeSubcommand:
    @staticmethod
    def cmd(args):
        raise SystemExit("the server must not be started")

    def validate(self, args):
        if args.chat_template:
            raise ValueError(f"The supplied chat template ({args.chat_template}) does not exist!")
        if args.model_tag == "acme/broken":
            raise RuntimeError("no GPU on this machine")
"""


def make_vllm(folder: Path, calls: Path, engine: Path | str = "false") -> Path:
    """Its `vllm` program, which runs `engine`; each time that it checks arguments it adds a line to `calls`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python3*/site-packages")
    cli = packages / "vllm" / "entrypoints" / "cli"
    cli.mkdir(parents=True)
    (cli / "main.py").write_text(textwrap.dedent(MAIN).format(calls=str(calls)))
    (cli / "serve.py").write_text(textwrap.dedent(SERVE))
    (packages / "vllm-0.32.0.dist-info").mkdir()
    program = folder / "bin" / "vllm"
    program.write_text(f'#!/bin/sh\nexec {engine} "$@"\n')
    program.chmod(0o755)
    return program
