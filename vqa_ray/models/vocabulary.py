"""The closed answer vocabulary of a checkpoint: which answers there are and where their scores stand. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vqa_ray.errors import ModelLoadError


class AnswerVocabulary:
    """Answers in the order of the model's logits.

    Args:
        labels: at least one.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._exact = {label: index for index, label in reversed(list(enumerate(self.labels)))}
        self._folded = {label.strip().lower(): index for index, label in reversed(list(enumerate(self.labels)))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], origin: str) -> AnswerVocabulary:
        """Read `id2label` of a `config.json`.

        Raises:
            ModelLoadError: it is absent, has gaps, or is what transformers fills in where none was given.
        """
        given = config.get("id2label") or {}
        labels = {int(index): str(label) for index, label in given.items()}
        ordered = [labels.get(index, "") for index in range(len(labels))]
        if not ordered or "" in ordered or ordered == [f"LABEL_{index}" for index in range(len(ordered))]:
            raise ModelLoadError(f"{origin}: config.json has no answer vocabulary (id2label)")
        return cls(ordered)

    def index_of(self, answer: str) -> int | None:
        """Where the score of an answer stands: exactly so, else but for case and outer space; None when unknown."""
        exact = self._exact.get(answer)
        return self._folded.get(answer.strip().lower()) if exact is None else exact

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Whether each choice is an answer of the vocabulary."""
        return [self.index_of(choice) is not None for choice in choices]
