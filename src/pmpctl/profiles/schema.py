"""The JSON Schema of profiles.toml, for editors: `python -m pmpctl.profiles.schema > profiles.schema.json`."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pmpctl.profiles.model import Defaults, GatewaySettings, HostSettings, ProfileTable, Table
from pmpctl.profiles.rules import PROFILE_NAME, RESERVED_NAME

SCHEMA_ID = "urn:pmpctl:schema:profiles"

_TABLES: Mapping[str, type[Table]] = {
    "defaults": Defaults,
    "gateway": GatewaySettings,
    "host": HostSettings,
    "profile": ProfileTable,
}


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: a key that may be None is one that may be left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        return {key: value for key, value in inner.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic calls it so)
        return False


def schema() -> dict[str, Any]:
    tables = {name: _table(model) for name, model in _TABLES.items()}
    # Where a table refers to another, it does so from the top of the whole schema.
    parts = {name: part for table in tables.values() for name, part in table.pop("$defs", {}).items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "pmpctl profiles",
        "type": "object",
        "additionalProperties": False,
        "required": ["profiles"],
        "properties": {
            "default": {"type": "string", "description": "The profile that runs when none is named."},
            "defaults": tables["defaults"],
            "gateway": tables["gateway"],
            "host": tables["host"],
            "profiles": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{PROFILE_NAME.pattern}$", "not": {"const": RESERVED_NAME}},
                "additionalProperties": tables["profile"],
            },
        },
        "$defs": parts,
    }


def _table(model: type[Table]) -> dict[str, Any]:
    return model.model_json_schema(schema_generator=_TomlSchema)


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
