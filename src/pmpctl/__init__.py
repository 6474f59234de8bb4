"""pmpctl: one machine, one GPU, one dependable OpenAI-compatible API."""

__version__ = "0.1.0"
