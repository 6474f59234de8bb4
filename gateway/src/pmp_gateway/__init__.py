"""An ASGI application of its own: one public API in front of one engine."""
