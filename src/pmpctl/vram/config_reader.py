"""Typed, bounded access to a model's config.json: every number is checked before anything is computed with it."""

from collections.abc import Mapping, Sequence

from pmpctl.errors import ModelConfigInvalid

MOST_LAYERS = 4096
LARGEST_SIZE = 1 << 26
LONGEST_CONTEXT = 1 << 40
TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "thinker_config")


class ConfigReader:
    """A section of config.json over its class's defaults.

    An explicit null hides a default, as it does in transformers: `"sliding_window": null` means no window.
    """

    def __init__(self, values: Mapping[str, object], defaults: Mapping[str, object] | None = None) -> None:
        self._values = values
        self._defaults = defaults or {}

    def with_defaults(self, defaults: Mapping[str, object]) -> "ConfigReader":
        return ConfigReader(self._values, {**self._defaults, **defaults})

    def read_as(self, model_type: str) -> "ConfigReader":
        """The same section, whatever type it names itself."""
        return ConfigReader({**self._values, "model_type": model_type}, self._defaults)

    def value(self, *names: str) -> object:
        """The first of these that is given, else the first that has a default, else None."""
        for source in (self._values, self._defaults):
            for name in names:
                if name in source:
                    return source[name]
        return None

    def has(self, name: str) -> bool:
        return self.value(name) is not None

    def says(self, name: str) -> bool:
        """Whether config.json itself has this key, null or not."""
        return name in self._values

    def optional_size(self, *names: str, at_most: int = LARGEST_SIZE) -> int | None:
        """A whole number above zero, or None if absent or null."""
        value = self.value(*names)
        return None if value is None else whole_number(value, names[0], at_least=1, at_most=at_most)

    def size(self, *names: str, at_most: int = LARGEST_SIZE) -> int:
        found = self.optional_size(*names, at_most=at_most)
        if found is None:
            raise ModelConfigInvalid(f"config.json does not say `{names[0]}`", cure=CURE)
        return found

    def count(self, *names: str, otherwise: int = 0, at_most: int = LARGEST_SIZE) -> int:
        """A whole number, zero included; `otherwise` if absent or null."""
        value = self.value(*names)
        return otherwise if value is None else whole_number(value, names[0], at_least=0, at_most=at_most)

    def number(self, name: str) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST_SIZE:
            raise ModelConfigInvalid(
                f"`{name}` in config.json must be a number above zero, not {shown(value)}", cure=CURE
            )
        return float(value)

    def flag(self, name: str, otherwise: bool = False) -> bool:
        value = self.value(name)
        return otherwise if value is None else bool(value)

    def text(self, name: str, otherwise: str = "") -> str:
        value = self.value(name)
        return value if isinstance(value, str) else otherwise

    def items(self, name: str) -> Sequence[object] | None:
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ModelConfigInvalid(f"`{name}` in config.json must be a list, not {shown(value)}", cure=CURE)
        return value

    def per_layer(self, name: str, layers: int) -> Sequence[object] | None:
        """A list with an entry for each layer; longer ones end in entries for drafting layers."""
        found = self.items(name)
        if found is not None and len(found) < layers:
            message = f"`{name}` in config.json has {len(found)} entries for {layers} layers"
            raise ModelConfigInvalid(message, cure=CURE)
        return found

    def whole_numbers(self, name: str, *, at_most: int = LARGEST_SIZE) -> tuple[int, ...] | None:
        found = self.items(name)
        return None if found is None else tuple(whole_number(each, name, at_least=0, at_most=at_most) for each in found)

    def section(self, name: str) -> "ConfigReader | None":
        value = self.value(name)
        return ConfigReader(value) if isinstance(value, Mapping) else None

    def sections(self, name: str) -> "list[ConfigReader]":
        """A list of objects, or one object for each name, as readers; anything else in it is left out."""
        value = self.value(name)
        found = value.values() if isinstance(value, Mapping) else self.items(name) or ()
        return [ConfigReader(each) for each in found if isinstance(each, Mapping)]


CURE = (
    "Check that the file is the model's own config.json, complete and unchanged; download the model again if in doubt."
)


def shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def whole_number(value: object, name: str, *, at_least: int, at_most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        message = f"`{name}` in config.json must be a whole number from {at_least} to {at_most}, not {shown(value)}"
        raise ModelConfigInvalid(message, cure=CURE)
    return value
