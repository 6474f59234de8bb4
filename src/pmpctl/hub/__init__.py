"""Model facts and weights: the Hugging Face cache, folders, and the hub."""
