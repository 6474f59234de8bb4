"""Memory arithmetic: weights, KV cache, activations, verdict. Pure.

The KV cache, in the order it is computed; formulas name the function of vLLM that they follow:

    architecture.read_architecture(config)   config.json -> Architecture: what each layer caches (layers.py)
    kv_pages.KvSettings(max_model_len=...)    what of the engine's settings decides
    kv_cache.kv_layout(model, settings)      -> KvLayout, bytes of one tensor-parallel rank:
        .bytes_per_token, .bytes_of_request(tokens), .bytes_to_start(tokens), .pool(bytes), .largest_context(bytes)

`config_reader` checks every number, `families` knows which reader reads which model type (attention_layers,
recurrent_layers), `kv_pages` prices a block of a layer, `kv_groups` shares blocks among layers.
"""
