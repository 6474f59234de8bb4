"""An ASGI application of its own: one public API in front of one engine."""

__version__ = "0.1.0"
