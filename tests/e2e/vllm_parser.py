"""Run by vLLM's own Python: puts argument lists through vLLM's own parser and prints what it understood."""

import json
import sys

from vllm.entrypoints.cli.serve import make_arg_parser, validate_parsed_serve_args
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
understood = {}
for name, argv in json.load(sys.stdin).items():
    arguments = parser.parse_args(argv)
    validate_parsed_serve_args(arguments)
    if arguments.tool_call_parser:
        ToolParserManager.get_tool_parser(arguments.tool_call_parser)
    understood[name] = {
        "model": arguments.model_tag,
        "served": arguments.served_model_name,
        "max_model_len": arguments.max_model_len,
        "gpu_memory_utilization": arguments.gpu_memory_utilization,
        "kv_cache_dtype": arguments.kv_cache_dtype,
        "quantization": arguments.quantization,
        "tool_call_parser": arguments.tool_call_parser,
        "auto_tools": arguments.enable_auto_tool_choice,
        "eager": arguments.enforce_eager,
        "tensor_parallel_size": arguments.tensor_parallel_size,
    }
print(json.dumps(understood))
