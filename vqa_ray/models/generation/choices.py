"""The choices of closed questions: as tokens, and as probabilities. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Tokenize = Callable[[str], Sequence[int]]

# Continuations are tokenised behind this, as many tokenizers join a word with the space before it.
_ANCHOR = "Answer:"


def continuation_tokens(tokenize: Tokenize, choice: str) -> tuple[int, ...]:
    """The tokens of a choice that follows a prompt, after a space; none for a choice without text.

    Args:
        tokenize: text → token ids, without special tokens.
    """
    words = " ".join(choice.split())
    if not words:
        return ()
    before, both = tuple(tokenize(_ANCHOR)), tuple(tokenize(f"{_ANCHOR} {words}"))
    if both[: len(before)] == before and len(both) > len(before):
        return both[len(before) :]
    return tuple(tokenize(f" {words}"))


def opening_tokens(tokenize: Tokenize, choice: str) -> tuple[int, ...]:
    """The tokens of a choice that a decoder of its own says from the start."""
    words = " ".join(choice.split())
    return tuple(tokenize(words)) if words else ()


def probabilities(log_probabilities: Sequence[float]) -> tuple[float, ...]:
    """Softmax; NaN stays NaN and takes no part."""
    known = [value for value in log_probabilities if not math.isnan(value)]
    if not known:
        return tuple(log_probabilities)
    highest = max(known)
    total = sum(math.exp(value - highest) for value in known)
    return tuple(math.exp(value - highest) / total for value in log_probabilities)
