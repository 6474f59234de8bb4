"""The one place where a profile becomes vLLM's arguments, by the vLLM version that will read them."""

from collections.abc import Iterator
from dataclasses import dataclass

from pmpctl.errors import PlanInvalid
from pmpctl.planning.images import VLLM_RELEASE, Version, version_text
from pmpctl.profiles.model import Profile


@dataclass(frozen=True, slots=True)
class Flag:
    """A profile field and the vLLM flag that carries it; `since` is the first release known to have the flag."""

    field: str
    name: str
    since: Version = (0, 6, 0)


FLAGS = (
    Flag("revision", "--revision"),
    Flag("max_model_len", "--max-model-len"),
    Flag("gpu_memory_utilization", "--gpu-memory-utilization"),
    Flag("kv_cache_dtype", "--kv-cache-dtype"),
    Flag("kv_cache_memory_bytes", "--kv-cache-memory-bytes", since=(0, 11, 0)),
    Flag("quantization", "--quantization"),
    Flag("dtype", "--dtype"),
    Flag("max_num_seqs", "--max-num-seqs"),
    Flag("max_num_batched_tokens", "--max-num-batched-tokens"),
    Flag("tensor_parallel_size", "--tensor-parallel-size"),
    Flag("tokenizer_mode", "--tokenizer-mode"),
    Flag("config_format", "--config-format", since=(0, 6, 2)),
    Flag("load_format", "--load-format"),
    Flag("reasoning_parser", "--reasoning-parser", since=(0, 7, 0)),
    Flag("tool_call_parser", "--tool-call-parser"),
    Flag("tool_parser_plugin", "--tool-parser-plugin", since=(0, 6, 2)),
    Flag("chat_template", "--chat-template"),
)

ALLOWED_MEDIA_DOMAINS_SINCE: Version = (0, 11, 0)


@dataclass(frozen=True, slots=True)
class Trust:
    """Fields of a request that vLLM, too, refuses unless a flag is given; releases before `since` do not ask for it."""

    fields: frozenset[str]
    name: str
    since: Version


TRUSTS = (
    Trust(frozenset({"chat_template"}), "--trust-request-chat-template", since=(0, 11, 0)),
    Trust(frozenset({"media_io_kwargs", "mm_processor_kwargs"}), "--trust-request-mm-kwargs", since=(0, 31, 0)),
)

ENABLE_REASONING_UNTIL: Version = (0, 10, 0)
"""Before this release `--reasoning-parser` had to be joined by `--enable-reasoning`."""


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """Where the engine itself finds what the profile names by a path on the host."""

    model: str
    chat_template: str | None = None
    tool_parser_plugin: str | None = None


def engine_args(
    profile: Profile,
    *,
    paths: EnginePaths,
    served_names: tuple[str, ...],
    host: str,
    port: int,
    version: Version | None,
) -> tuple[str, ...]:
    """The arguments after `vllm serve`.

    `version` None means that the image does not tell: the pinned release is assumed.
    Raises PlanInvalid when that version does not know a flag that the profile needs.
    """
    known = version or VLLM_RELEASE
    args = [paths.model, "--host", host, "--port", str(port), "--served-model-name", *served_names]
    for flag, value in _settings(profile, paths):
        _require(profile, flag.field, flag.since, known)
        args += [flag.name, value]
    if profile.tool_call_parser is not None:
        args.append("--enable-auto-tool-choice")
    if profile.reasoning_parser is not None and known < ENABLE_REASONING_UNTIL:
        args.append("--enable-reasoning")
    if profile.enforce_eager:
        args.append("--enforce-eager")
    if profile.trust_remote_code:
        args.append("--trust-remote-code")
    args += _request_args(profile, known)
    args.append("--disable-fastapi-docs")
    args += profile.extra_args
    return tuple(args)


def _request_args(profile: Profile, known: Version) -> Iterator[str]:
    """The engine's own word on what the gateway lets through; all else it refuses by itself."""
    limits = profile.requests
    if limits.media_domains:
        _require(profile, "media_domains", ALLOWED_MEDIA_DOMAINS_SINCE, known)
        yield from ("--allowed-media-domains", *limits.media_domains)
    for trust in TRUSTS:
        if known >= trust.since and not trust.fields.isdisjoint(limits.allow_fields):
            yield trust.name


def _require(profile: Profile, field: str, since: Version, known: Version) -> None:
    if known < since:
        raise PlanInvalid(
            f"[profiles.{profile.name}] {field} needs vLLM {version_text(since)} or newer, "
            f"and its image holds {version_text(known)}",
            cure=f"Use a newer `image`, or remove `{field}` from the profile.",
        )


def _settings(profile: Profile, paths: EnginePaths) -> Iterator[tuple[Flag, str]]:
    for flag in FLAGS:
        value = getattr(profile, flag.field)
        if flag.field == "chat_template":
            value = paths.chat_template
        elif flag.field == "tool_parser_plugin":
            value = paths.tool_parser_plugin
        elif flag.field == "gpu_memory_utilization" and _pins_kv_cache_on_cpu(profile):
            continue
        if value is None or value == "auto":
            continue
        yield flag, str(value)


def _pins_kv_cache_on_cpu(profile: Profile) -> bool:
    """On a CPU the utilization is a share of the host's memory, and means nothing once the cache's size is given."""
    return profile.device == "cpu" and profile.kv_cache_memory_bytes is not None
