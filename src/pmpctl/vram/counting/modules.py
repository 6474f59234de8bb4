"""What a model's weights are made of: matrices and vectors with a place, a size, and a way to be split."""

from dataclasses import dataclass
from enum import StrEnum

VOCABULARY_PADDING = 64


class Part(StrEnum):
    EMBED = "embed"
    LM_HEAD = "lm_head"
    ATTENTION = "attention"
    STATE = "state"
    MLP = "mlp"
    EXPERTS = "experts"
    ROUTER = "router"
    NORMS = "norms"
    VISION = "vision"
    PROJECTOR = "projector"
    AUDIO = "audio"
    OTHER = "other"


class Split(StrEnum):
    """What tensor parallelism does to a matrix (vLLM: ColumnParallelLinear, RowParallelLinear, ReplicatedLinear)."""

    OUTPUTS = "outputs"
    INPUTS = "inputs"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Module:
    """One weight of `outputs` x `inputs`, as the checkpoint names it; a vector has one input."""

    name: str
    part: Part
    outputs: int
    inputs: int = 1
    split: Split = Split.WHOLE
    copies: int = 1
    """Experts are many equal matrices."""
    has_bias: bool = False
    quantizable: bool = False
    """Whether a quantized checkpoint may quantize it: linear layers, but not routers, norms and convolutions."""
    groups: int = 0
    """Heads (or state groups) that `outputs` consists of, each kept whole and repeated where ranks outnumber them."""
    joined: bool = False
    """The engine fuses it with the module before it: k and v to q, up to gate."""
    element_bytes: int | None = None
    """For what is kept in float32 whatever the model's dtype is; None: the model's dtype."""

    def on_rank(self, ranks: int) -> tuple[int, int]:
        """The outputs and inputs that one of `ranks` holds."""
        if self.split is Split.OUTPUTS and self.groups:
            return -(-self.groups // ranks) * (self.outputs // self.groups), self.inputs
        if self.split is Split.OUTPUTS:
            return -(-self.outputs // ranks), self.inputs
        if self.split is Split.INPUTS:
            return self.outputs, -(-self.inputs // ranks)
        return self.outputs, self.inputs


def column(name: str, part: Part, outputs: int, inputs: int, **more: bool | int) -> Module:
    return Module(name, part, outputs, inputs, Split.OUTPUTS, quantizable=True, **more)  # type: ignore[arg-type]


def row(name: str, part: Part, outputs: int, inputs: int, **more: bool | int) -> Module:
    return Module(name, part, outputs, inputs, Split.INPUTS, quantizable=True, **more)  # type: ignore[arg-type]


def norm(name: str, width: int, *, bias: bool = False, groups: int = 0) -> Module:
    """A norm of `width`; `groups` for one that runs over split heads."""
    split = Split.OUTPUTS if groups else Split.WHOLE
    return Module(name, Part.NORMS, width, has_bias=bias, split=split, groups=groups)


def padded(vocabulary: int) -> int:
    """vLLM: VocabParallelEmbedding pads the vocabulary to a multiple of 64."""
    return -(-vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING
