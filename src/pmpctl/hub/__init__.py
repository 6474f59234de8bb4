"""Model facts and weights: the Hugging Face cache."""
