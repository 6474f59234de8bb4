"""The profile file: models, loading, validation, schema, legacy import."""
