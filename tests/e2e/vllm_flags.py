"""Run by vLLM's own Python: prints every long flag of `vllm serve` with how many values it takes, and fixed choices."""

import json

from vllm.entrypoints.cli.serve import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
flags = {}
choices = {}
for action in parser._actions:
    for option in action.option_strings:
        if option.startswith("--"):
            flags[option] = {"0": "switch", "None": "value"}.get(str(action.nargs), "list")
            if action.choices and action.nargs is None:
                choices[option] = [str(choice) for choice in action.choices]
print(json.dumps({"flags": flags, "choices": choices}))
