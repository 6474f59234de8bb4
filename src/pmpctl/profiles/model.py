"""The profile file as data: every field with its default, its rule, and the sentence that documents it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from pmp_gateway.control_schema import RequestPolicy
from pmpctl.errors import ProfileUnknown
from pmpctl.profiles import rules
from pmpctl.profiles.extra_args import complaints
from pmpctl.profiles.suggest import nearest

KvCacheDtype = Literal[
    "auto",
    "float16",
    "bfloat16",
    "fp8",
    "fp8_e4m3",
    "fp8_e5m2",
    "fp8_inc",
    "fp8_ds_mla",
    "nvfp4_ds_mla",
    "turboquant_k8v4",
    "turboquant_4bit_nc",
    "turboquant_k3v4_nc",
    "turboquant_3bit_nc",
    "ultraquant_4bit",
    "int4_per_token_head",
    "int8_per_token_head",
    "fp8_per_token_head",
    "nvfp4",
    "nvfp4_4over6",
]
"""The names that vLLM 0.32 knows (`CacheDType`)."""

Dtype = Literal["auto", "half", "float16", "bfloat16", "float", "float32"]


class Table(BaseModel):
    """Strict: a number in quotes is not a number, and an unknown key is a mistake."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


_STRICTEST = RequestPolicy()


class RequestLimits(Table):
    """What one request may ask of the engine; the gateway answers 400 to what goes beyond."""

    max_tokens: rules.Positive | None = Field(
        None,
        description="The longest answer in tokens: a request that asks for more, or for no length, gets this. "
        "Default: what fits the context.",
        examples=[4096],
    )
    max_n: rules.Positive = Field(_STRICTEST.max_n, description="How many answers to one prompt (`n`, `best_of`).")
    max_prompts: rules.Positive = Field(
        _STRICTEST.max_prompts, description="How many prompts, inputs or documents in one request."
    )
    max_logprobs: rules.NotNegative = Field(
        _STRICTEST.max_logprobs, description="For how many likely tokens beside the chosen one (`top_logprobs`)."
    )
    allow_fields: Sequence[rules.AllowableField] = Field(
        (),
        description="Fields to let in that are refused, or held small, unless they are named here.",
        examples=[["chat_template"]],
    )
    deny_fields: Sequence[rules.RequestField] = Field(
        (), description="Further fields to refuse.", examples=[["tools", "logit_bias"]]
    )
    media_domains: Sequence[rules.Domain] = Field(
        (),
        description="Hosts from which the engine may fetch images, audio and video. Default: none, so media must be "
        "in the request itself, as `data:` URLs.",
        examples=[["upload.wikimedia.org"]],
    )


class Defaults(Table):
    """What every profile starts from."""

    description: str = Field("", description="One line for people, shown by `pmpctl profiles list`.")
    model: rules.ModelName | None = Field(
        None,
        description="The model: a Hugging Face repository (`owner/name`), a folder with its files (beginning with `/`, "
        "`./` or `../`; relative to the profile file), or `builtin:demo`, the tiny model that ships with pmpctl.",
        examples=["Qwen/Qwen2.5-32B-Instruct-AWQ"],
    )
    revision: rules.Word | None = Field(
        None, description="Branch, tag or commit of the repository; a commit never changes.", examples=["main"]
    )
    device: Literal["cuda", "cpu"] = Field(
        "cuda", description="What the engine runs on: `cuda` needs an NVIDIA GPU, `cpu` suits tiny models only."
    )
    image: rules.ImageReference | None = Field(
        None,
        description="The vLLM image, with a tag or digest. Default: `cuda_image` or `cpu_image` of `[host]`.",
        examples=["vllm/vllm-openai:v0.32.0"],
    )
    max_model_len: rules.Positive | None = Field(
        None,
        description="The context in tokens, prompt and answer together. Default: all that the model was made for.",
        examples=[32768],
    )
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = Field(
        0.90, description="The share of the GPU's memory that vLLM may take for weights and KV cache."
    )
    kv_cache_dtype: KvCacheDtype = Field(
        "auto", description="How keys and values are stored; `fp8` halves them, which doubles the context that fits."
    )
    kv_cache_memory_bytes: rules.Positive | None = Field(
        None,
        description="The size of the KV cache in bytes; overrides `gpu_memory_utilization`.",
        examples=[8589934592],
    )
    quantization: rules.WordOrAuto = Field(
        None,
        description="How the weights are quantized, such as `awq`. Default, or `auto`: as the model's own files say.",
        examples=["awq"],
    )
    dtype: Dtype = Field("auto", description="The type of weights and activations that are not quantized.")
    max_num_seqs: rules.Positive | None = Field(
        None, description="How many requests run at once; more wait. Default: vLLM's.", examples=[64]
    )
    max_num_batched_tokens: rules.Positive | None = Field(
        None, description="How many tokens one step of the engine takes on. Default: vLLM's.", examples=[2048]
    )
    enforce_eager: bool = Field(
        True,
        description="`true` starts faster and saves 1 to 3 GiB; `false` compiles the model and captures CUDA graphs, "
        "which answers faster.",
    )
    tensor_parallel_size: rules.Positive = Field(1, description="Over how many GPUs the model is split.")
    tool_call_parser: rules.Word | None = Field(
        None,
        description="The format in which the model calls tools; must suit the model. Default: no tool calling.",
        examples=["hermes"],
    )
    reasoning_parser: rules.Word | None = Field(
        None, description="The format in which the model thinks aloud. Default: none.", examples=["qwen3"]
    )
    chat_template: rules.ChatTemplate | None = Field(
        None,
        description="A Jinja file (relative to the profile file), or `builtin:NAME` for one that ships with pmpctl. "
        "Default: the model's own.",
        examples=["builtin:devstral"],
    )
    tool_parser_plugin: rules.Text | None = Field(
        None,
        description="A Python file (relative to the profile file) that registers a tool parser of your own. It runs "
        "inside the engine.",
        examples=["parsers/mine.py"],
    )
    tokenizer_mode: rules.Word = Field("auto", description="Which tokenizer code reads the model: `hf`, `mistral`, ...")
    config_format: rules.Word = Field("auto", description="The format of the model's configuration: `hf`, `mistral`.")
    load_format: rules.Word = Field("auto", description="The format of the weights: `safetensors`, `mistral`, ...")
    trust_remote_code: bool = Field(
        False, description="Let the engine run Python code from the model's repository. Read that code first."
    )
    backend_model_id: rules.Word | None = Field(
        None, description="The model's id in the API, beside `llm` and the profile's name. Default: `model`."
    )
    start_timeout: rules.Positive = Field(
        600, description="After how many seconds without any progress a start has failed; a slow download never has."
    )
    shm_size_gib: rules.PositiveGib = Field(8, description="Shared memory of the engine's container, in GiB.")
    requests: RequestLimits = Field(
        default_factory=RequestLimits,
        description="What one request may ask for, as a table of its own: see below.",
        examples=[{"max_tokens": 4096}],
    )
    extra_args: Sequence[str] = Field(
        (),
        description="Further vLLM arguments, from the list of allowed ones below.",
        examples=[["--seed", "1", "--enable-prefix-caching"]],
    )

    @field_validator("extra_args")
    @classmethod
    def _only_harmless_arguments(cls, value: Sequence[str]) -> Sequence[str]:
        if found := tuple(complaints(value, cls.model_fields)):
            raise PydanticCustomError("extra_args", "{text}", {"text": found[0].text, "complaints": found})
        return value


class ProfileTable(Defaults):
    """What is written under one `[profiles.NAME]`."""

    extends: str | None = Field(
        None, description="The profile whose keys this one takes over and may replace.", examples=["coding"]
    )


class Profile(Defaults):
    """A profile ready to run: its own keys over those it extends, over `[defaults]`."""

    name: str
    model: rules.ModelName


class GatewaySettings(Table):
    """The door: where the API listens and what it lets in."""

    listen: rules.Listen = Field(
        "127.0.0.1:8000",
        description="Address and port of the API. Anything wider than loopback needs tokens, or `allow_open`.",
    )
    allow_open: bool = Field(
        False, description="Allow a wide `listen` without tokens: everyone who reaches it may use it."
    )
    auth_config: rules.Text = Field(
        "config/auth.json", description="The token file, relative to the workspace; in a folder of its own."
    )
    unknown_model: Literal["serve", "reject"] = Field(
        "serve",
        description="What happens to a request for another model: `serve` it by the loaded one, or `reject` it.",
    )
    base_image: rules.ImageReference = Field(
        "python:3.11-slim-bookworm", description="The image that the gateway's own is built from."
    )
    image: rules.ImageReference | None = Field(
        None, description="A ready gateway image. Default: built here.", examples=["registry.example/pmp-gateway:0.1.0"]
    )
    log_headers: Sequence[rules.Header] = Field(
        ("X-Signal-Hunter-Operation",), description="Request headers that the gateway writes into its access log."
    )
    metrics: bool = Field(
        False, description="Show `/metrics` on `listen` too, to who has a token; the control socket always has it."
    )
    cors_origins: Sequence[rules.Origin] = Field(
        (),
        description='Web pages whose scripts may use the API; `["*"]` lets every page in. Default: none.',
        examples=[["https://chat.example"]],
    )
    allowed_hosts: Sequence[rules.HostName] = Field(
        (),
        description="Further host names to answer to. Without tokens, only IP addresses, `localhost` and names without "
        "a dot are; once any is listed here, that holds with tokens too.",
        examples=[["gpu.example.com"]],
    )
    max_body_mib: rules.Positive = Field(64, description="The largest request body that is let in, in MiB.")
    requests_per_minute: rules.Limit = Field(
        0,
        description="Requests a minute for each token without a limit of its own; for each address if there are no "
        "tokens. 0: no limit.",
    )
    max_concurrent: rules.Limit = Field(0, description="The same for requests at a time. 0: no limit.")
    hold_max_requests: rules.NotNegative = Field(
        256, description="How many requests may wait while the model is changed. 0: they are refused instead."
    )
    hold_max_mib: rules.Positive = Field(256, description="How much their bodies may take together, in MiB.")
    hold_timeout_seconds: rules.Positive = Field(
        600, description="How long each of them may wait; after that it is answered 503."
    )
    keep_alive_seconds: rules.Positive = Field(
        5, description="How often a stream that waits is sent a comment, so that its client does not give up."
    )
    engine_wait_seconds: rules.NotNegative = Field(
        20,
        description="How long requests wait for an engine that died and comes back. 0: they are answered 503 at once.",
    )


class HostSettings(Table):
    """This machine: its memory, its runtime, its GPUs."""

    vram_budget_gib: rules.PositiveGib | None = Field(
        None,
        description="GPU memory to plan for, in GiB. Default: what the GPU has.",
        examples=[24],
    )
    runtime: Literal["auto", "docker", "process"] = Field(
        "auto", description="`docker`, `process` (no containers), or `auto`: Docker if an engine answers."
    )
    models_dir: rules.Text = Field(
        "./models", description="The Hugging Face cache with the weights, relative to the workspace."
    )
    gpus: rules.Gpus = Field(
        "all", description='`"all"`, or a list of indices, `GPU-...` and `MIG-...` identifiers.', examples=[[0]]
    )
    gpu_access: Literal["auto", "device-requests", "cdi", "runtime"] = Field(
        "auto", description="How Docker hands out GPUs; `auto` takes what the engine offers."
    )
    engine_port: rules.Port = Field(8002, description="The engine's port, on loopback only.")
    engine_program: rules.Text | None = Field(
        None,
        description="The `vllm` program for the process runtime. Default: found in the environment.",
        examples=["/srv/vllm/bin/vllm"],
    )
    cuda_image: rules.ImageReference = Field(
        "vllm/vllm-openai:v0.32.0", description='The image of profiles with `device = "cuda"`.'
    )
    cpu_image: rules.ImageReference = Field(
        "vllm/vllm-openai-cpu:v0.32.0", description='The image of profiles with `device = "cpu"`.'
    )
    memlock: rules.Memlock = Field(
        None,
        description='Memory that the engine may lock: `"unlimited"` or bytes. Default: Docker\'s.',
        examples=["unlimited"],
    )
    warm_page_cache: bool = Field(
        True,
        description="Before a switch, read the next model's weights into the host's free memory while the old model "
        "serves, so that it loads sooner.",
    )
    card_timeout: rules.Positive = Field(
        60, description="How many seconds a GPU's memory may take to become free after an engine has ended."
    )
    docker_host: rules.DockerHost | None = Field(
        None,
        description="The Docker engine's address. Default: `DOCKER_HOST`, or the current Docker context.",
        examples=["unix:///run/user/1000/docker.sock"],
    )


@dataclass(frozen=True, slots=True)
class ProfileFile:
    path: Path
    gateway: GatewaySettings
    host: HostSettings
    profiles: Mapping[str, Profile]
    default: str | None = None

    def profile(self, name: str) -> Profile:
        if found := self.profiles.get(name):
            return found
        likely = nearest(name, self.profiles)
        guess = f'Did you mean "{likely}"? ' if likely else ""
        raise ProfileUnknown(
            f'no profile "{name}" in {self.path}', cure=f"{guess}It has {', '.join(self.profiles) or 'no profiles'}."
        )
