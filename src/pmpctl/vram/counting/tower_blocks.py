"""The pieces that vision towers and their projectors are built of."""

from dataclasses import dataclass

from pmpctl.vram.config_reader import ConfigReader
from pmpctl.vram.counting.modules import Module, Part, column, row


@dataclass(frozen=True, slots=True)
class Sight:
    """What a multimodal model's configuration says of its sight."""

    root: ConfigReader
    vision: ConfigReader
    text_hidden: int


@dataclass(frozen=True, slots=True)
class Tower:
    modules: list[Module]
    known: bool = True


@dataclass(frozen=True, slots=True)
class Sizes:
    """Class defaults of the towers stand where their configuration is silent."""

    hidden: int
    layers: int
    heads: int
    width: int
    channels: int
    patch: int
    image: int

    @property
    def patches(self) -> int:
        return (self.image // self.patch) ** 2


def sizes_of(vision: ConfigReader, hidden: int, layers: int, heads: int, width: int, patch: int, image: int) -> Sizes:
    own = vision.optional_size("embed_dim") if vision.has("embed_dim") else None
    hidden = own or vision.count("hidden_size", otherwise=hidden)
    return Sizes(
        hidden=hidden,
        layers=vision.count("num_hidden_layers", "depth", "layers", otherwise=layers, at_most=1024),
        heads=vision.count("num_attention_heads", "num_heads", otherwise=heads),
        width=vision.count("intermediate_size", otherwise=int(vision.number("mlp_ratio") or 0) * hidden or width),
        channels=vision.count("num_channels", "in_channels", "in_chans", otherwise=3),
        patch=max(1, first_number(vision, "patch_size", patch)),
        image=first_number(vision, "image_size", image),
    )


def first_number(config: ConfigReader, name: str, otherwise: int) -> int:
    """A size, or the first of a height and a width."""
    value = config.value(name)
    if isinstance(value, list | tuple):
        return ConfigReader({name: value[0] if value else otherwise}).count(name, otherwise=otherwise)
    return config.count(name, otherwise=otherwise)


def vector(name: str, width: int, *, bias: bool = False) -> Module:
    return Module(name, Part.VISION, width, has_bias=bias)


def matrix(name: str, outputs: int, inputs: int, *, bias: bool = True, part: Part = Part.PROJECTOR) -> Module:
    return Module(name, part, outputs, inputs, has_bias=bias, quantizable=True)


def encoder_layer(
    path: str, sizes: Sizes, *, bias: bool, gated: bool, norm_bias: bool, head_norms: int = 0, kv_heads: int = 0
) -> list[Module]:
    """One encoder layer: norms, attention, MLP."""
    hidden, part = sizes.hidden, Part.VISION
    grouped = kv_heads * (hidden // max(1, sizes.heads)) if kv_heads else hidden
    gate = [column(f"{path}.mlp.gate_proj", part, sizes.width, hidden, has_bias=bias)] if gated else []
    return [
        vector(f"{path}.norm1", hidden, bias=norm_bias),
        vector(f"{path}.norm2", hidden, bias=norm_bias),
        *(vector(f"{path}.attn.{name}_norm", head_norms) for name in "qk" if head_norms),
        column(f"{path}.attn.qkv", part, hidden + 2 * grouped, hidden, has_bias=bias),
        row(f"{path}.attn.proj", part, hidden, hidden, has_bias=bias),
        *gate,
        column(f"{path}.mlp.fc1", part, sizes.width, hidden, has_bias=bias, joined=gated),
        row(f"{path}.mlp.fc2", part, hidden, sizes.width, has_bias=bias),
    ]


def patch_embedding(path: str, sizes: Sizes, *, frames: int = 1, bias: bool) -> Module:
    return Module(
        f"{path}.patch_embed", Part.VISION, sizes.hidden, sizes.channels * frames * sizes.patch**2, has_bias=bias
    )


def encoder(root: ConfigReader, sizes: Sizes, *, class_token: bool, post_norm: bool) -> list[Module]:
    """vLLM: SiglipVisionModel, CLIPVisionModel; a negative `vision_feature_layer` leaves the last layers out."""
    path = "vision_tower"
    layer = root.value("vision_feature_layer")
    layer = layer if isinstance(layer, int) and not isinstance(layer, bool) else -1
    kept = max(0, min(sizes.layers, sizes.layers + layer + 1 if layer < 0 else layer))
    modules = [patch_embedding(path, sizes, bias=not class_token)]
    modules.append(Module(f"{path}.position_embedding", Part.VISION, sizes.patches + class_token, sizes.hidden))
    if class_token:
        modules += [
            vector(f"{path}.class_embedding", sizes.hidden),
            vector(f"{path}.pre_layrnorm", sizes.hidden, bias=True),
        ]
    for i in range(kept):
        modules += encoder_layer(f"{path}.encoder.layers.{i}", sizes, bias=True, gated=False, norm_bias=True)
    if post_norm and kept == sizes.layers:
        modules.append(vector(f"{path}.post_layernorm", sizes.hidden, bias=True))
    return modules


def llava_projector(root: ConfigReader, hidden: int, text_hidden: int) -> list[Module]:
    bias = root.flag("multimodal_projector_bias", otherwise=True)
    newline = root.text("model_type") == "llava_next"
    return [
        *split_projector(text_hidden, hidden, text_hidden, bias=bias),
        *([Module("image_newline", Part.PROJECTOR, text_hidden)] if newline else []),
    ]


def split_projector(between: int, inputs: int, outputs: int, *, bias: bool) -> list[Module]:
    """A projector's two matrices, split over the ranks."""
    return [
        column("multi_modal_projector.linear_1", Part.PROJECTOR, between, inputs, has_bias=bias),
        row("multi_modal_projector.linear_2", Part.PROJECTOR, outputs, between, has_bias=bias),
    ]


def merger(path: str, merged: int, out: int, normed: int, *, norm_bias: bool) -> list[Module]:
    """Part of the tower, and split over the ranks as its MLPs are."""
    return [
        vector(f"{path}.norm", normed, bias=norm_bias),
        column(f"{path}.linear_fc1", Part.VISION, merged, merged, has_bias=True),
        row(f"{path}.linear_fc2", Part.VISION, out, merged, has_bias=True),
    ]
