"""Choices, scored by the likeliest first tokens of an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# Of the probability of the choices, what tokens that begin several of them may take.
_UNDECIDED = 0.01
# What the choices must have of all probability.
_LEAST = 0.5


def choice_probabilities(choices: Sequence[str], first: Mapping[str, float]) -> tuple[float, ...] | None:
    """Return the probability of each choice, in all 1; None where the first token does not decide.

    Args:
        choices: distinct, with text.
        first: likeliest first tokens of the answer → log-probability.
    """
    words = [plain(choice) for choice in choices]
    mass, undecided = [0.0] * len(words), 0.0
    for token, log_probability in first.items():
        begun = plain(token)
        fitting = [number for number, word in enumerate(words) if begun and word.startswith(begun)]
        if len(fitting) == 1:
            mass[fitting[0]] += math.exp(log_probability)
        elif fitting:
            undecided += math.exp(log_probability)
    total = sum(mass)
    if total < _LEAST or undecided > _UNDECIDED * total:
        return None
    return tuple(each / total for each in mass)


def named(choices: Sequence[str], text: str) -> tuple[float, ...] | None:
    """Return 1 for the choice that a text names and 0 for the others; None where it names none, or several."""
    if text in choices:
        return tuple(float(choice == text) for choice in choices)
    words = [plain(choice) for choice in choices]
    said = plain(text)
    return tuple(float(word == said) for word in words) if words.count(said) == 1 else None


def plain(text: str) -> str:
    """Return a text in lower case, without marks and white space around it."""
    return " ".join(text.replace("▁", " ").replace("Ġ", " ").strip(" \t\n.\"'`*").casefold().split())
