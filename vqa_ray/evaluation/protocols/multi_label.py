"""Tags: several labels of one attribute, or one."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.ranking import RankedList

# A tag of a row is: neither said nor true, said, true, both. The numbers add up.
_SAID, _TRUE = 1, 2
# The true label where all that is known is that the labels given are wrong; no tag of its own.
NOT_KNOWN = "(not known)"
# Of a choice that the run has no score for, below every score.
_UNSCORED = -1.0


class Tags(Protocol):
    """Precision, recall and F1, 0..1, over all tags (micro), as means over tags (macro) and of each; average precision.

    A tag is a label of an attribute that is true of at least one row; labels that are never true count as false alarms
    of the micro measures. Macro measures are means over the tags that are true of some of the rows, where a tag that
    was never said has precision 0. Average precision reads the scores of all choices, also below their threshold.

    `judge` takes the labels of one attribute; `truth["labels"]` is the list of its true labels, or its only one.
    """

    name = "tags"
    title = "Tags: precision, recall, F1, mean average precision"
    source = "Definitions of scikit-learn: precision_recall_fscore_support, average_precision_score"
    prediction = "labels"
    truth: ClassVar[Roles] = {"labels": ("labels", "tags")}
    optional: ClassVar[Roles] = {"attribute": ("attribute",)}
    groups = ("attribute",)
    headline = "f1_micro"
    means = frozenset({"exact_match"})

    def __init__(self) -> None:
        # Attribute → its tags, sorted; the same attribute's rows keep a tag's numbers in the column of its place.
        self._tags: dict[str, list[str]] = {}

    def fit(self, truths: Iterable[Mapping[str, Any]]) -> None:
        """Collect the tags of each attribute."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for truth in truths:
            with contextlib.suppress(ValueError):  # `judge` counts it
                found[_attribute(truth)].update(_labels(truth["labels"]))
        self._tags = {attribute: sorted(labels - {NOT_KNOWN}) for attribute, labels in found.items()}

    def judge(self, prediction: Sequence[str], truth: Mapping[str, Any]) -> Judgement:
        said, true = set(prediction), _labels(truth["labels"])
        return Judgement(float(said == true), _joined(said), _joined(true), self._numbers(said, true, truth))

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        true = _labels(truth["labels"])
        return Judgement(0.0, None, _joined(true), self._numbers(set(), true, truth))

    def _numbers(self, said: set[str], true: set[str], truth: Mapping[str, Any]) -> dict[str, float]:
        tags, scores = self._tags.get(_attribute(truth), []), truth.get("scores") or {}
        numbers = {"never_true": float(len(said.difference(tags)))}
        for place in range(max(map(len, self._tags.values()), default=0)):
            tag = tags[place] if place < len(tags) else None
            score = scores.get(tag) if tag is not None else None
            numbers[f"state_{place}"] = float(_SAID * (tag in said) + _TRUE * (tag in true))
            numbers[f"score_{place}"] = _UNSCORED if score is None else float(score)
        return numbers

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        counts = np.array([0.0, 0.0, float(rows.extra["never_true"] @ weight)])
        macro: list[tuple[float, float, float]] = []
        precisions: list[float] = []
        of_tags: dict[str, float] = {}
        for tag in rows.kept("tags", lambda: list(self._tags_of(rows))):
            part = weight[tag.rows]
            own = tag.counts @ part
            counts += own
            measured = _precision_recall_f1(*own)
            of_tags |= {f"{kind}[{tag.name}]": value for kind, value in zip(_KINDS, measured, strict=True)}
            if own[1]:
                macro.append(measured)
                if tag.ranked is not None:
                    precisions.append(tag.ranked.average_precision(part))
                    of_tags[f"average_precision[{tag.name}]"] = precisions[-1]
        means = np.nan_to_num(macro).mean(axis=0) if macro else [float("nan")] * 3
        return {
            **{f"{kind}_micro": value for kind, value in zip(_KINDS, _precision_recall_f1(*counts), strict=True)},
            **{f"{kind}_macro": float(value) for kind, value in zip(_KINDS, means, strict=True)},
            "map": float(np.mean(precisions)) if precisions else float("nan"),
            "exact_match": _ratio(float(rows.score @ weight), float(weight.sum())),
            **of_tags,
        }

    def support(self, rows: JudgedRows, measure: str) -> npt.NDArray[np.bool_]:
        kind, _, name = measure.removesuffix("]").partition("[")
        said, true = (np.array([bool(text) for text in column]) for column in (rows.read_as, rows.truth))
        tag = next((tag for tag in rows.kept("tags", lambda: list(self._tags_of(rows))) if tag.name == name), None)
        if tag is not None:
            said, true = np.zeros((2, len(rows)), bool)
            true[tag.rows], said[tag.rows] = tag.counts[1:] > 0
        if kind.startswith("precision"):
            return said
        return said | true if kind.startswith("f1") else true

    def notes(self, rows: JudgedRows) -> list[str]:
        count = int((rows.truth == NOT_KNOWN).sum())
        told = "verdicts are wrong without a right answer: all labels given count as wrong; recall lacks the right ones"
        return [f"{count:,} {told}"] if count else []

    def _tags_of(self, rows: JudgedRows) -> Iterator[_Tag]:
        attributes, codes = rows.codes("attribute")
        for number, (attribute,) in enumerate(attributes):
            at = np.flatnonzero(codes == number)
            for place, tag in enumerate(self._tags.get(attribute, [])):
                state, scores = rows.extra[f"state_{place}"][at], rows.extra[f"score_{place}"][at]
                said, true = state % 2 == _SAID, state >= _TRUE
                counts = np.array([said & true, true, said], np.float64)
                ranked = RankedList(true, scores) if scores.max() > _UNSCORED else None
                yield _Tag(f"{attribute}={tag}" if attribute else tag, at, counts, ranked)


@dataclass(frozen=True, slots=True)
class _Tag:
    """A tag in some rows.

    Attributes:
        name: as its measures have it.
        rows: intp (N,), those of its attribute.
        counts: float64 (3, N): said and true, true, said.
        ranked: the rows by score; None where no row has one.
    """

    name: str
    rows: npt.NDArray[np.intp]
    counts: npt.NDArray[np.float64]
    ranked: RankedList | None


_KINDS = ("precision", "recall", "f1")


def _precision_recall_f1(hits: float, true: float, said: float) -> tuple[float, float, float]:
    return _ratio(hits, said), _ratio(hits, true), _ratio(2 * hits, said + true)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _attribute(truth: Mapping[str, Any]) -> str:
    return str(truth.get("attribute") or "")


def _labels(value: Any) -> set[str]:
    if value is None:
        raise ValueError("true labels: none given; a list is needed, empty where no label is true")
    labels = [value] if isinstance(value, str) else list(value)
    if wrong := [each for each in labels if not isinstance(each, str)]:
        raise ValueError(f"true labels: {wrong[0]!r} among them, a text is needed")
    return set(labels)


def _joined(labels: Iterable[str]) -> str:
    return "; ".join(sorted(labels))
