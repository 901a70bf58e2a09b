"""The closed answer vocabulary of a checkpoint: which answers there are and where their scores stand. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from vqa_ray.errors import ModelLoadError, one_line
from vqa_ray.models.checkpoint.weight_files import WeightFiles, safetensors_shapes
from vqa_ray.text import canonical

# The last layer of a ViLT's answer head.
_HEAD = "classifier.3.weight"


class AnswerVocabulary:
    """Answers in the order of the model's logits.

    Args:
        labels: at least one.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._exact = {label: index for index, label in reversed(list(enumerate(self.labels)))}
        self._folded = {label.strip().lower(): index for index, label in reversed(list(enumerate(self.labels)))}
        self._normalised = {canonical(label): index for index, label in reversed(list(enumerate(self.labels)))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prefix: str) -> AnswerVocabulary:
        """Read `id2label` of a `config.json`.

        Raises:
            ModelLoadError: it is absent, what transformers fills in where none was given, or wrong: the entry is named.
        """
        given = config.get("id2label") or {}
        if not isinstance(given, Mapping):
            raise ModelLoadError(
                f"{prefix}: id2label of config.json is a {type(given).__name__}, "
                'expected an object {"0": "answer", …}'
            )
        labels: dict[int, str] = {}
        for index, label in given.items():
            _check_entry(str(index), label, f"{prefix}: id2label of config.json")
            labels[int(index)] = label
        ordered = [labels.get(index, "") for index in range(len(labels))]
        if not ordered or ordered == [f"LABEL_{index}" for index in range(len(ordered))]:
            raise ModelLoadError(f"{prefix}: config.json has no answer vocabulary (id2label)")
        gap = next((index for index in range(len(labels)) if index not in labels), None)
        if gap is not None:
            raise ModelLoadError(
                f"{prefix}: id2label of config.json has {len(labels)} entries but none for {gap}; expected one for "
                f"each of 0 to {len(labels) - 1}"
            )
        _check_once(ordered, f"{prefix}: id2label of config.json")
        return cls(ordered)

    def index_of(self, answer: str) -> int | None:
        """Return the index of an answer's score; None when the answer is unknown.

        The same text comes first, then the same but for case and outer space, then the same official normal form
        ("t-shirt" and "t shirt").
        """
        for known, form in ((self._exact, answer), (self._folded, answer.strip().lower())):
            if form in known:
                return known[form]
        return self._normalised.get(canonical(answer))

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Return whether each choice is an answer of the vocabulary."""
        return [self.index_of(choice) is not None for choice in choices]

    def nearest(self, choice: str, limit: int = 3) -> list[str]:
        """Return the labels most like a choice: first those that share a word, then those of similar letters."""
        form = canonical(choice)
        words = set(form.split())
        sharing = [at for name, at in self._normalised.items() if words & set(name.split())]
        sharing.sort(key=lambda at: (abs(len(self.labels[at]) - len(form)), self.labels[at]))
        similar = [self._normalised[name] for name in difflib.get_close_matches(form, self._normalised, limit, 0.6)]
        return [self.labels[at] for at in dict.fromkeys([*sharing, *similar])][:limit]

    def suggest(self, choices: Sequence[str]) -> str:
        """Return a clause on choices that the vocabulary lacks: the nearest words it has, else some of its words."""
        near = list(dict.fromkeys(word for choice in choices for word in self.nearest(choice)))[:5]
        if near:
            return f"the nearest words it knows are {', '.join(map(repr, near))}"
        some = ", ".join(map(repr, self.labels[:5]))
        return f"none of its {len(self.labels)} words is similar ({some}{', …' if len(self.labels) > 5 else ''})"


def check_head(vocabulary: AnswerVocabulary, weights: WeightFiles, prefix: str) -> None:
    """Check that a vocabulary has an answer for each logit, where the shapes of the weights are known without torch.

    Raises:
        ModelLoadError: they differ.
    """
    if weights.pickled:
        return
    for file in weights.files:
        shape = safetensors_shapes(file).get(_HEAD)
        if shape and shape[0] != len(vocabulary.labels):
            raise ModelLoadError(
                f"{prefix}: id2label of config.json has {len(vocabulary.labels)} answers, the head of the network "
                f"({_HEAD}) scores {shape[0]}; they must agree"
            )


def _check_entry(index: str, label: object, prefix: str) -> None:
    if not index.isascii() or not index.isdigit():
        swapped = isinstance(label, int) or str(label).isdigit()
        hint = "ids and labels are swapped: label2id stands in its place" if swapped else 'expected "0", "1", …'
        raise ModelLoadError(f"{prefix} has the key {one_line(index, 60)!r}, which is no id; {hint}")
    if not isinstance(label, str):
        raise ModelLoadError(f"{prefix} gives id {index} the label {one_line(repr(label), 60)}, expected a text")
    if not label.strip():
        raise ModelLoadError(f"{prefix} gives id {index} an empty label; expected an answer")


def _check_once(labels: Sequence[str], prefix: str) -> None:
    first: dict[str, int] = {}
    for index, label in enumerate(labels):
        if first.setdefault(label, index) != index:
            raise ModelLoadError(
                f"{prefix} gives ids {first[label]} and {index} the same label {one_line(label, 60)!r}; "
                "expected each once"
            )
