"""The answers to one question about several photos, combined into one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.grouping.rule import Row, Rule
from vqa_ray.text import canonical

_YES, _NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class AnswerCombiner:
    """Combines ANSWER rows; see `vqa_ray.grouping.rule.Combiner`.

    `any` and `all` take answers yes and no: a yes of any photo, or of all. `max` takes the answer with the best score
    of a photo, `mean` the one with the best mean score among the answers that each photo has kept, `vote` the one that
    most photos have; its score is the share of these photos.
    """

    rule: Rule
    form: tuple[pa.Field, ...] = (
        pa.field("question_index", pa.int32()),
        pa.field("question", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("answer_score", pa.float32()),
    )
    evidence: tuple[pa.Field, ...] = (pa.field("answer", pa.string()), pa.field("answer_score", pa.float32()))
    further: tuple[str, ...] = ("question", "question_index", "answers")

    def combine(self, rows: Sequence[Row]) -> dict[str, Any]:
        """See `Combiner.combine`."""
        answer, score = self._decided(rows)
        return {"answer": answer, "answer_score": score}

    def _decided(self, rows: Sequence[Row]) -> tuple[str, float | None]:
        spelt = {canonical(row["answer"]): row["answer"] for row in reversed(rows)}
        if self.rule in ("any", "all"):
            return self._yes_or_no(rows)
        if self.rule == "vote":
            votes = _summed([{canonical(row["answer"]): (1.0, row["answer_score"] or 0.0)} for row in rows])
            best = max(votes, key=lambda answer: votes[answer])
            return spelt[best], votes[best][0] / len(rows)
        if any(row["answer_score"] is None for row in rows):
            raise RowError(ErrorCode.ROW_MALFORMED, f"--combine {self.rule} compares scores; a photo's answer has none")
        if self.rule == "max":
            row = max(rows, key=lambda row: row["answer_score"])
            return row["answer"], row["answer_score"]
        kept = [
            {canonical(each["answer"]): (each["score"] or 0.0,) for each in reversed(row["answers"])} for row in rows
        ]
        spelt = {canonical(each["answer"]): each["answer"] for row in rows for each in row["answers"]} | spelt
        sums = _summed(kept)
        best = max(sums, key=lambda answer: sums[answer])
        return spelt[best], sums[best][0] / len(rows)

    def _yes_or_no(self, rows: Sequence[Row]) -> tuple[str, float | None]:
        said = [canonical(row["answer"]) for row in rows]
        other = next((row["answer"] for row, answer in zip(rows, said, strict=True) if answer not in (_YES, _NO)), None)
        if other is not None:
            raise RowError(
                ErrorCode.ROW_MALFORMED, f"--combine {self.rule} takes answers yes and no; a photo's is {other!r}"
            )
        decisive = _YES if self.rule == "any" else _NO
        scores = {row["answer_score"] for row, answer in zip(rows, said, strict=True) if answer == decisive}
        if scores:
            # One photo is enough: the surest one.
            return decisive, None if None in scores else max(scores)
        scores = {row["answer_score"] for row in rows}
        return _NO if decisive == _YES else _YES, None if None in scores else min(scores)


def _summed(photos: Sequence[Mapping[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    """Add up the numbers of each answer over photos, in order of first appearance."""
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for photo in photos:
        for answer, numbers in photo.items():
            sums[answer] = [a + b for a, b in zip(sums[answer] or [0.0] * len(numbers), numbers, strict=True)]
    return {answer: tuple(numbers) for answer, numbers in sums.items()}
