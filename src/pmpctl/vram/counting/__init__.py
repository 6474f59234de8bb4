"""Counts what a model holds, module by module: from config.json alone, or from the tensors of its checkpoint."""
