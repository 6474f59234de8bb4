"""How wide a quantized matrix is: its elements, scales, zero points and what else the format keeps beside them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """`bits` an element, and a scale for each `group_outputs` x `group_inputs` of them; None stands for all."""

    bits: int
    scale_bytes: int = 0
    group_outputs: int | None = 1
    group_inputs: int | None = None
    zero_bits: int = 0
    """Of the zero point that goes with each scale."""
    fixed_bytes: int = 0
    """Per matrix as the engine fuses it: its shape, written down."""
    shard_bytes: int = 0
    """Per matrix of the checkpoint: global and input scales."""
    input_bytes: int = 0
    """Per input: the order of the groups."""
    expert_output_bytes: int = 0
    """Per output of an expert: vLLM's GPTQ experts have a bias, used or not."""

    def matrix_bytes(self, outputs: int, inputs: int, *, joined: bool = False) -> int:
        scales = _groups(outputs, self.group_outputs) * _groups(inputs, self.group_inputs)
        bits = outputs * inputs * self.bits + scales * self.zero_bits
        own = 0 if joined else self.fixed_bytes + inputs * self.input_bytes
        return -(-bits // 8) + scales * self.scale_bytes + self.shard_bytes + own


def _groups(size: int, group: int | None) -> int:
    return 1 if not group else -(-size // group)


FP8_TENSOR = Format(8, scale_bytes=4, group_outputs=None)
FP8_CHANNEL = Format(8, scale_bytes=4)
INT8_CHANNEL = Format(8, scale_bytes=4)
NVFP4 = Format(4, scale_bytes=1, group_inputs=16, shard_bytes=8)
MXFP4 = Format(4, scale_bytes=1, group_inputs=32)
MXFP8 = Format(8, scale_bytes=1, group_inputs=32)
NF4 = Format(4, scale_bytes=4, group_outputs=1, group_inputs=64)
"""bitsandbytes: one absmax of float32 for 64 elements; double quantization is undone on loading."""
