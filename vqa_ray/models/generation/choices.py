"""The choices of closed questions: as tokens, and as probabilities. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from vqa_ray.types import ChoiceScores

Tokenize = Callable[[str], Sequence[int]]

# Continuations are tokenised behind this, as many tokenizers join a word with the space before it.
_ANCHOR = "Answer:"


def continuation_tokens(tokenize: Tokenize, choice: str) -> tuple[int, ...]:
    """Tokenise a choice that follows a prompt, after a space; a choice without text has no tokens.

    Args:
        tokenize: text → token ids, without special tokens.
        choice: the choice.
    """
    words = " ".join(choice.split())
    if not words:
        return ()
    before, both = tuple(tokenize(_ANCHOR)), tuple(tokenize(f"{_ANCHOR} {words}"))
    if both[: len(before)] == before and len(both) > len(before):
        return both[len(before) :]
    return tuple(tokenize(f" {words}"))


def opening_tokens(tokenize: Tokenize, choice: str) -> tuple[int, ...]:
    """Tokenise a choice that a decoder writes from the start."""
    words = " ".join(choice.split())
    return tuple(tokenize(words)) if words else ()


def flatten_choices(
    questions: Sequence[Sequence[str]], choices: Sequence[Sequence[Sequence[str]]]
) -> list[Sequence[str]]:
    """Return the choices of each question in order, whatever its image.

    Raises:
        ValueError: there are not as many lists of choices as questions.
    """
    flat = [option for of_image in choices for option in of_image]
    count = sum(map(len, questions))
    if len(flat) != count:
        raise ValueError(f"score: {count} questions but {len(flat)} lists of choices")
    return flat


def choice_scores(
    tokens: Sequence[Sequence[Sequence[int]]],
    means: Mapping[int, Sequence[float]],
    warnings: Mapping[int, str | None],
) -> list[ChoiceScores]:
    """Return the probabilities of the choices of each question.

    Args:
        tokens: per question, the token ids of each choice; empty for a choice without text, which scores NaN.
        means: question → mean log-probabilities of its choices with text.
        warnings: question → the warning of its prompt.
    """
    scores = []
    for question, choices in enumerate(tokens):
        values = iter(means.get(question, ()))
        scored = [next(values) if choice else math.nan for choice in choices]
        scores.append(ChoiceScores(probabilities(scored), warnings.get(question)))
    return scores


def probabilities(log_probabilities: Sequence[float]) -> tuple[float, ...]:
    """Softmax; NaN stays NaN and takes no part."""
    known = [value for value in log_probabilities if not math.isnan(value)]
    if not known:
        return tuple(log_probabilities)
    highest = max(known)
    total = sum(math.exp(value - highest) for value in known)
    return tuple(math.exp(value - highest) / total for value in log_probabilities)
