"""Vision-language models that are asked by the chat template of their checkpoint."""
