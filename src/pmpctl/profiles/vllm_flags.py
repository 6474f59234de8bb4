"""Which of vLLM's arguments a profile may add by hand, and why the others may not: data for extra_args.

Allowed is what tunes the engine and can neither open it to others, nor run code, nor reach files outside its mounts.
A flag belongs into one of these tables or stays forbidden; each is checked against vLLM's own parser by a test.
"""

from typing import NamedTuple


class Refusal(NamedTuple):
    reason: str
    cure: str


SWITCHES = frozenset(
    {
        "--async-scheduling",
        "--disable-cascade-attn",
        "--disable-chunked-mm-input",
        "--disable-custom-all-reduce",
        "--disable-hybrid-kv-cache-manager",
        "--disable-log-stats",
        "--disable-sliding-window",
        "--disable-uvicorn-access-log",
        "--enable-chunked-prefill",
        "--enable-expert-parallel",
        "--enable-flashinfer-autotune",
        "--enable-force-include-usage",
        "--enable-log-requests",
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        "--enable-server-load-tracking",
        "--exclude-tools-when-tool-choice-none",
        "--interleave-mm-strings",
        "--kv-sharing-fast-prefill",
        "--language-model-only",
        "--no-async-scheduling",
        "--no-disable-cascade-attn",
        "--no-disable-hybrid-kv-cache-manager",
        "--no-enable-chunked-prefill",
        "--no-enable-flashinfer-autotune",
        "--no-enable-prefix-caching",
        "--no-use-tqdm-on-load",
        "--skip-mm-profiling",
    }
)

VALUES = frozenset(
    {
        "--attention-backend",
        "--attention-config",
        "--block-size",
        "--chat-template-content-format",
        "--compilation-config",
        "--cpu-offload-gb",
        "--default-chat-template-kwargs",
        "--gdn-prefill-backend",
        "--generation-config",
        "--hf-overrides",
        "--kernel-config",
        "--kv-offloading-backend",
        "--kv-offloading-size",
        "--limit-mm-per-prompt",
        "--linear-backend",
        "--logprobs-mode",
        "--long-prefill-token-threshold",
        "--mamba-block-size",
        "--mamba-cache-dtype",
        "--mamba-cache-mode",
        "--mamba-ssm-cache-dtype",
        "--max-cudagraph-capture-size",
        "--max-log-len",
        "--max-logprobs",
        "--max-num-scheduled-tokens",
        "--max-parallel-loading-workers",
        "--mm-encoder-attn-backend",
        "--mm-encoder-tp-mode",
        "--mm-processor-cache-gb",
        "--mm-processor-cache-type",
        "--mm-processor-kwargs",
        "--model-impl",
        "--model-loader-extra-config",
        "--moe-backend",
        "--num-gpu-blocks-override",
        "--optimization-level",
        "--override-generation-config",
        "--performance-mode",
        "--pipeline-parallel-size",
        "--prefix-caching-hash-algo",
        "--quantization-config",
        "--reasoning-config",
        "--renderer-num-workers",
        "--runner",
        "--safetensors-load-strategy",
        "--scheduling-policy",
        "--seed",
        "--spec-method",
        "--spec-model",
        "--spec-tokens",
        "--speculative-config",
        "--stream-interval",
        "--structured-outputs-config",
        "--tool-strict-level",
        "--uvicorn-log-level",
    }
)

LISTS = frozenset({"--cpu-offload-params", "--cudagraph-capture-sizes", "--kv-cache-dtype-skip-layers"})

_OURS = "pmpctl sets the engine's address, and the gateway is the only way in"
_CODE = "it makes the engine run code of the argument's choice"
_TLS = Refusal("the engine speaks plain HTTP to the gateway alone", "End TLS in front of the gateway.")
_ONE_MACHINE = Refusal("pmpctl runs one engine on one machine", 'Set "tensor_parallel_size" to use several GPUs.')
_CODE_REFUSED = Refusal(_CODE, "Put such code into an image of your own and name that as `image`.")

REFUSED = {
    "--additional-config": _CODE_REFUSED,
    "--allowed-local-media-path": Refusal("it lets every request read files of the engine", "Send media inline."),
    "--allowed-media-domains": Refusal(
        "the gateway has to know of them, too", "Set `media_domains` under [profiles.NAME.requests]."
    ),
    "--api-key": Refusal(
        "a secret on the command line is readable for everyone who can list processes",
        "Let the gateway ask for tokens: `pmpctl token add NAME`.",
    ),
    "--config": Refusal("it reads further arguments from a file that nothing checks", "Write them into the profile."),
    "--device-memory-utilization": Refusal('it is the field "gpu_memory_utilization"', "Set that field."),
    "--disable-fastapi-docs": Refusal("pmpctl always sets it", "Remove it."),
    "--disable-log-requests": Refusal("vLLM logs no requests unless --enable-log-requests is given", "Remove it."),
    "--distributed-executor-backend": _CODE_REFUSED,
    "--download-dir": Refusal("weights lie in the mounted cache", "Set `models_dir` under [host]."),
    "--enable-auto-tool-choice": Refusal('the field "tool_call_parser" turns it on', "Set that field."),
    "--enable-lora": Refusal("adapters are files outside the mounts", "Merge the adapter into the model."),
    "--enable-prompt-embeds": Refusal("it lets requests hand the engine serialized tensors", "Remove it."),
    "--enable-sleep-mode": Refusal("it opens routes that put the engine to sleep for everyone", "Remove it."),
    "--guided-decoding-backend": Refusal(
        "vLLM has replaced it", """Use "--structured-outputs-config", '{"backend": "..."}'."""
    ),
    "--headless": Refusal(_OURS, "Remove it."),
    "--hf-token": Refusal(
        "a secret on the command line is readable for everyone who can list processes",
        "Set HF_TOKEN in the environment of pmpctl.",
    ),
    "--host": Refusal(_OURS, "Set `listen` under [gateway]."),
    "--io-processor-plugin": _CODE_REFUSED,
    "--kv-transfer-config": _ONE_MACHINE,
    "--logits-processors": _CODE_REFUSED,
    "--lora-modules": Refusal("adapters are files outside the mounts", "Merge the adapter into the model."),
    "--max-seq-len-to-capture": Refusal("vLLM has replaced it", 'Use "--max-cudagraph-capture-size".'),
    "--middleware": _CODE_REFUSED,
    "--no-enforce-eager": Refusal('it is the field "enforce_eager"', "Set `enforce_eager = false`."),
    "--no-trust-remote-code": Refusal('it is the field "trust_remote_code"', "Set `trust_remote_code = false`."),
    "--port": Refusal(_OURS, "Set `engine_port` under [host]."),
    "--reasoning-parser-plugin": _CODE_REFUSED,
    "--rope-scaling": Refusal("vLLM has replaced it", """Use "--hf-overrides", '{"rope_parameters": {...}}'."""),
    "--rope-theta": Refusal("vLLM has replaced it", """Use "--hf-overrides", '{"rope_parameters": {...}}'."""),
    "--root-path": Refusal(_OURS, "Rewrite paths in front of the gateway."),
    "--scheduler-cls": _CODE_REFUSED,
    "--served-model-name": Refusal(
        "the served names are llm, the profile's name and the model's id", 'Set "backend_model_id" for another id.'
    ),
    "--shutdown-timeout": Refusal("pmpctl drains the engine itself", "Remove it."),
    "--swap-space": Refusal("vLLM no longer has it", 'Use "--kv-offloading-size" or "--cpu-offload-gb".'),
    "--task": Refusal("vLLM has replaced it", 'Use "--runner".'),
    "--tool-server": Refusal("it makes the engine call tools over the network", "Call tools from the client."),
    "--uds": Refusal(_OURS, "Remove it."),
    "--worker-cls": _CODE_REFUSED,
    "--worker-extension-cls": _CODE_REFUSED,
}

REFUSED_FAMILIES = {
    "--allowed-": Refusal("browsers meet the gateway, never the engine", "Remove it."),
    "--data-parallel-": _ONE_MACHINE,
    "--enable-ssl-": _TLS,
    "--grpc": Refusal(_OURS, "Remove it."),
    "--master-": _ONE_MACHINE,
    "--nnodes": _ONE_MACHINE,
    "--node-rank": _ONE_MACHINE,
    "--ssl-": _TLS,
    "--trust-request-": Refusal(
        "the gateway has to know of it, too", "Name the field in `allow_fields` under [profiles.NAME.requests]."
    ),
}
