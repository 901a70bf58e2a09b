"""Text generation: prompts, decoding, caches, choices, boxes."""
