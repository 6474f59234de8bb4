"""Memory arithmetic: weights, KV cache, activations, verdict. Pure."""
