"""Models that overflow in float16. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HALF = "float16"

# Trained in bfloat16 with activations beyond 65,504, the largest number of float16: they would write nonsense.
_OVERFLOWING = ("t5", "mt5", "umt5", "t5gemma2", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text")
_PARTS = ("text_config", "language_config", "llm_config", "thinker_config")


def overflowing_type(config: Mapping[str, Any]) -> str | None:
    """Return the `model_type`, of a config or of its language model, that overflows in float16; None if none does."""
    parts = [config, *(part for name in _PARTS if isinstance(part := config.get(name), Mapping))]
    return next((str(part["model_type"]) for part in parts if part.get("model_type") in _OVERFLOWING), None)


def half_refusal(config: Mapping[str, Any]) -> str | None:
    """Why float16 is refused, and what is allowed; None where it is not."""
    kind = overflowing_type(config)
    return kind and f"{kind} overflows in float16 and would write nonsense; allowed are bfloat16, float32"
