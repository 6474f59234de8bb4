"""What a profile lets requests ask of the engine: plain data, and the fields it speaks of."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

# A tensor from the client is memory of the engine's process: no policy lets one in.
NEVER_ALLOWED = frozenset({"prompt_embeds"})

# Code, files, other people's requests, or work without bound behind one small field.
DENIED_FIELDS = frozenset(
    {
        "background",
        "chat_template",
        "echo",
        "ec_transfer_params",
        "guided_decoding_backend",
        "kv_transfer_params",
        "logits_processors",
        "media_io_kwargs",
        "mm_processor_kwargs",
        "priority",
        "prompt_logprobs",
        "repetition_detection",
        "request_id",
        "use_beam_search",
        "vllm_xargs",
    }
)

MAX_ITEMS = 1024
COUNTED_FIELDS = frozenset(
    {
        "allowed_token_ids",
        "bad_words",
        "guided_choice",
        "logit_bias",
        "logprob_token_ids",
        "stop",
        "stop_sequences",
        "stop_token_ids",
    }
)

# Grammars and schemas are compiled before the first token; a schema of this size fills a small model's context.
MAX_GRAMMAR_BYTES = 128 * 1024
GRAMMAR_FIELDS = frozenset(
    {
        "chat_template_kwargs",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "output_config",
        "response_format",
        "structured_outputs",
        "text",
    }
)

ALLOWABLE_FIELDS = DENIED_FIELDS | COUNTED_FIELDS | GRAMMAR_FIELDS
"""What `allow_fields` may name: these are then left to the engine's own checks."""

Count = Annotated[int, Meta(ge=1)]


class RequestPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, cache_hash=True):
    """`max_tokens` lowers what a request asks for, and is set where it asks for nothing; all other limits refuse.

    `max_n` counts the answers to one prompt, `max_prompts` the prompts, inputs or documents of one request.
    `media_domains` are the only hosts from which the engine may fetch media.
    """

    max_tokens: Count | None = None
    max_n: Count = 16
    max_prompts: Count = 2048
    max_logprobs: Annotated[int, Meta(ge=0)] = 20
    max_json_depth: Annotated[int, Meta(ge=8, le=256)] = 64
    allow_fields: tuple[str, ...] = ()
    deny_fields: tuple[str, ...] = ()
    media_domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.allow_fields) - ALLOWABLE_FIELDS):
            raise ValueError(
                f"allow_fields cannot name {unknown[0]!r}; it may name {', '.join(sorted(ALLOWABLE_FIELDS))}"
            )

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return data

    @classmethod
    def from_data(cls, data: Any) -> "RequestPolicy":
        """Raises ValueError that names what is wrong; an unknown key could be a limit that would not be kept."""
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
