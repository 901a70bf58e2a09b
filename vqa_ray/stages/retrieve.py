"""The stage that tells how well images fit a predicate: DECODED tables in, RETRIEVE tables out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import VqaModel
from vqa_ray.predicates.predicate import Predicate, Question
from vqa_ray.stages import model_stage as batch
from vqa_ray.stages.answer import limit_threads
from vqa_ray.taxonomy.taxonomy import YES_NO, probability_of_yes
from vqa_ray.text import normalise
from vqa_ray.types import Image

# Images of which everything is asked, to learn which questions settle most.
_SAMPLE = 32


@dataclass(slots=True)
class _Found:
    """What is known of one image: scores by question number, and what answering lived through."""

    scores: dict[int, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class RetrieveStage:
    """A `map_batches` callable that holds one loaded model and a predicate.

    Of the first images everything is asked; from then on one question after the other, those first that settle most,
    and only of images where they still matter.

    Args:
        model: which one, and how it is loaded and asked; or one that is loaded.
        predicate: what is looked for.
        ask_all: ask every question of every image.
        free_answers: whether the model writes its answers: then `= "red"` scores the answer it gives, else 0.
        version: of the columns, see `schema.of_version`.
        attempt: how many times these rows have been tried, counting this one.
        threads: CPU threads for the model; None leaves the process as it is.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: ModelOptions | VqaModel,
        predicate: Predicate,
        *,
        ask_all: bool = False,
        free_answers: bool = False,
        version: int = schema.COLUMNS_VERSION,
        attempt: int = 1,
        threads: int | None = None,
    ) -> None:
        limit_threads(threads)
        self._model = model.load() if isinstance(model, ModelOptions) else model
        self._predicate = predicate
        self._ask_all = ask_all
        self._free = free_answers
        self._form = schema.of_version(schema.RETRIEVE, version)
        self._attempt = attempt
        self._sample: list[Mapping[int, float]] = []
        self._order: list[int] = []

    def __call__(self, table: pa.Table) -> pa.Table:
        """Score a DECODED table (with kept columns): as many rows, in the same order."""

        def find(rows: list[int]) -> list[_Found]:
            return self._find(table, rows)

        results = batch.bisect_failures(find, batch.ok_rows(table))
        found = {row: result for row, result in results.items() if not isinstance(result, RowError)}
        output = schema.with_kept(self._form, batch.kept_fields(table))
        return batch.assemble(output, table, self._columns(found), batch.failures_of(results), self._attempt)

    def _find(self, table: pa.Table, rows: Sequence[int]) -> list[_Found]:
        """What the questions of each row came to; every distinct image is asked once."""
        groups = batch.image_groups(table, rows)
        images = [group.image for group in groups]
        found = [_Found() for _ in groups]
        while asked := self._next(found):
            self._ask(images, asked, found)
        if not self._order:
            self._learn(found)
        by_row = {row: each for group, each in zip(groups, found, strict=True) for row in group.rows}
        return [by_row[row] for row in rows]

    def _next(self, found: Sequence[_Found]) -> dict[int, list[int]]:
        """What to ask next: image → question numbers; images that are settled are left out."""
        if self._ask_all or not self._order:
            everything = range(len(self._predicate.questions))
            return {place: list(everything) for place, each in enumerate(found) if not each.scores}
        asked: dict[int, list[int]] = {}
        for place, each in enumerate(found):
            still_open = self._predicate.open_questions(each.scores)
            if still_open:
                asked[place] = [next(number for number in self._order if number in still_open)]
        return asked

    def _ask(self, images: Sequence[Image], asked: Mapping[int, list[int]], found: Sequence[_Found]) -> None:
        questions = self._predicate.questions
        free = {
            p: [n for n in numbers if self._free and questions[n].answer is not None] for p, numbers in asked.items()
        }
        closed = {p: [n for n in numbers if n not in free[p]] for p, numbers in asked.items()}
        for wanted, score in ((closed, self._closed), (free, self._freely)):
            places = [place for place, numbers in wanted.items() if numbers]
            if not places:
                continue
            scored = score([images[place] for place in places], [[questions[n] for n in wanted[p]] for p in places])
            for place, results in zip(places, scored, strict=True):
                for number, (value, warning) in zip(wanted[place], results, strict=True):
                    found[place].scores[number] = _checked(value, questions[number])
                    found[place].warnings += [warning] if warning else []

    def _closed(
        self, images: Sequence[Image], questions: Sequence[Sequence[Question]]
    ) -> list[list[tuple[float, str | None]]]:
        """(score, warning) of P(yes), or of one answer of a closed vocabulary."""
        texts = [[each.text for each in asked] for asked in questions]
        choices = [[YES_NO if each.answer is None else (each.answer,) for each in asked] for asked in questions]
        return [
            [
                (scored.scores[0] if len(scored.scores) == 1 else probability_of_yes(*scored.scores), scored.warning)
                for scored in per_image
            ]
            for per_image in self._model.score(images, texts, choices)
        ]

    def _freely(
        self, images: Sequence[Image], questions: Sequence[Sequence[Question]]
    ) -> list[list[tuple[float, str | None]]]:
        """(score, warning): of the answer that the model writes if it is the one wanted, else 0."""
        answered = self._model.answer(images, [[each.text for each in asked] for asked in questions], 1)
        return [
            [
                (
                    answer.answers[0][1] if normalise(answer.answers[0][0]) == normalise(str(each.answer)) else 0.0,
                    answer.warning,
                )
                for each, answer in zip(asked, answers, strict=True)
            ]
            for asked, answers in zip(questions, answered, strict=True)
        ]

    def _learn(self, found: Sequence[_Found]) -> None:
        self._sample += [each.scores for each in found]
        if len(self._sample) >= _SAMPLE:
            self._order = self._predicate.order(self._sample[:_SAMPLE])
            self._sample = []

    def _columns(self, found: Mapping[int, _Found]) -> dict[str, Mapping[int, Any]]:
        scores = {row: self._predicate.score(each.scores) for row, each in found.items()}
        return {
            "match": {row: self._predicate.matches(score) for row, score in scores.items()},
            "score": scores,
            "scores": {
                row: [
                    {"question": question.text, "answer": question.answer, "score": each.scores.get(number)}
                    for number, question in enumerate(self._predicate.questions)
                ]
                for row, each in found.items()
            },
            "warning": {row: "; ".join(dict.fromkeys(each.warnings)) or None for row, each in found.items()},
        }


def _checked(score: float, question: Question) -> float:
    if not math.isfinite(score):
        raise RowError(ErrorCode.MODEL_ERROR, f"the model's score of {question.text!r} is {score}")
    return min(max(score, 0.0), 1.0)
