"""The stage that scores images by a predicate: DECODED tables in, RETRIEVE tables out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeAlias

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import VqaModel
from vqa_ray.predicates.predicate import Predicate, Question
from vqa_ray.stages.model_stage import ImageGroup, assemble, bisect_failures, image_groups, kept_fields
from vqa_ray.stages.usage import usage_columns, with_usage
from vqa_ray.taxonomy.attribute import YES_NO, probability_of_yes
from vqa_ray.taxonomy.taxonomy import SuggestsChoices
from vqa_ray.text import normalise
from vqa_ray.types import Answer, Usage

# A score, its warning, and what it took.
_Scored: TypeAlias = tuple[float, str | None, Usage | None]

# Images that are asked every question, to learn which questions are the most decisive.
_SAMPLE = 32


@dataclass(frozen=True, slots=True)
class RetrieveConfig:
    """Configuration of `RetrieveStage`.

    Attributes:
        model: the model, and how to load and prompt it; or a loaded one.
        predicate: the expression to score.
        ask_all: ask every question of every image.
        free_answers: the model writes its answers: then `= "red"` scores the answer it gives, else 0.
        version: of the columns, see `schema.of_version`.
    """

    model: ModelOptions | VqaModel
    predicate: Predicate
    ask_all: bool = False
    free_answers: bool = False
    version: int = schema.COLUMNS_VERSION


@dataclass(slots=True)
class _Found:
    """The scores of one image by question number, the warnings of its answers, and what they took."""

    scores: dict[int, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    usages: list[Usage | None] = field(default_factory=list)


class RetrieveStage:
    """A `map_batches` callable that holds one loaded model and a predicate.

    The first images are asked every question. From then on questions are asked one by one, the most decisive first, and
    only of images whose outcome is still open. Calls may come from several threads.

    Args:
        config: see `RetrieveConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(self, config: RetrieveConfig, attempt: int = 1) -> None:
        self._model = config.model.load() if isinstance(config.model, ModelOptions) else config.model
        self._predicate = config.predicate
        self._ask_all = config.ask_all
        self._free = config.free_answers
        form = schema.of_version(schema.RETRIEVE, config.version)
        reports_usage = isinstance(config.model, ModelOptions) and config.model.reports_usage
        self._form = with_usage(form) if reports_usage else form
        self._attempt = attempt
        self._sample: list[Mapping[int, float]] = []
        self._order: list[int] = []
        self._learning = Lock()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Score a DECODED table (with kept columns): as many rows, in the same order."""

        def find(rows: list[int]) -> list[_Found]:
            return self._find(table, rows)

        found, failures = bisect_failures(find, schema.ok_rows(table).tolist())
        output = schema.with_kept(self._form, kept_fields(table))
        return assemble(output, table, self._columns(found), failures, self._attempt)

    def _find(self, table: pa.Table, rows: Sequence[int]) -> list[_Found]:
        """Score each row; every distinct image is asked once."""
        groups = image_groups(table, rows)
        found = [_Found() for _ in groups]
        while asked := self._next(found):
            self._ask(groups, asked, found)
        self._learn(found)
        by_row = {row: each for group, each in zip(groups, found, strict=True) for row in group.rows}
        return [by_row[row] for row in rows]

    def _next(self, found: Sequence[_Found]) -> dict[int, list[int]]:
        """Choose the next questions: image → question numbers, without the images whose outcome is certain."""
        if self._ask_all or not self._order:
            everything = range(len(self._predicate.questions))
            return {row: list(everything) for row, each in enumerate(found) if not each.scores}
        asked: dict[int, list[int]] = {}
        for row, each in enumerate(found):
            still_open = self._predicate.open_questions(each.scores)
            if still_open:
                asked[row] = [next(number for number in self._order if number in still_open)]
        return asked

    def _ask(self, groups: Sequence[ImageGroup], asked: Mapping[int, list[int]], found: Sequence[_Found]) -> None:
        questions = self._predicate.questions
        free = {
            p: [n for n in numbers if self._free and questions[n].answer is not None] for p, numbers in asked.items()
        }
        closed = {p: [n for n in numbers if n not in free[p]] for p, numbers in asked.items()}
        for wanted, score in ((closed, self._closed), (free, self._freely)):
            rows = [row for row, numbers in wanted.items() if numbers]
            if not rows:
                continue
            scored = score([groups[row] for row in rows], [[questions[n] for n in wanted[p]] for p in rows])
            for row, results in zip(rows, scored, strict=True):
                for number, (value, warning, usage) in zip(wanted[row], results, strict=True):
                    found[row].scores[number] = _checked(value, questions[number])
                    found[row].warnings += [warning] if warning else []
                    found[row].usages.append(usage)

    def _closed(self, groups: Sequence[ImageGroup], questions: Sequence[Sequence[Question]]) -> list[list[_Scored]]:
        """Score P(yes), or one answer of a closed vocabulary."""
        texts = _worded(groups, questions)
        choices = [[YES_NO if each.answer is None else (each.answer,) for each in asked] for asked in questions]
        return [
            [
                (
                    scored.scores[0] if len(scored.scores) == 1 else probability_of_yes(*scored.scores),
                    scored.warning,
                    scored.usage,
                )
                for scored in per_image
            ]
            for per_image in self._model.score([group.image for group in groups], texts, choices)
        ]

    def _freely(self, groups: Sequence[ImageGroup], questions: Sequence[Sequence[Question]]) -> list[list[_Scored]]:
        """Score the answer that the model writes if it equals the wanted one, else 0."""
        answered = self._model.answer([group.image for group in groups], _worded(groups, questions), 1)
        return [
            [
                (_score_if_equal(answer, str(each.answer)), answer.warning, answer.usage)
                for each, answer in zip(asked, answers, strict=True)
            ]
            for asked, answers in zip(questions, answered, strict=True)
        ]

    def _learn(self, found: Sequence[_Found]) -> None:
        with self._learning:
            if self._order:
                return
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
            **usage_columns({row: each.usages for row, each in found.items()}),
        }


def _worded(groups: Sequence[ImageGroup], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
    """Word the questions of each group of rows."""
    return [[group.word(each.text) for each in asked] for group, asked in zip(groups, questions, strict=True)]


def check_answers(option: str, predicate: Predicate, reference: str, vocabulary: SuggestsChoices | None) -> None:
    """Check that a closed vocabulary holds the answers that an expression looks for.

    Args:
        option: the option or argument that holds the expression, for messages.
        predicate: the expression.
        reference: the model.
        vocabulary: its vocabulary; None where it answers freely.

    Raises:
        RequestError: names the first answer that the vocabulary lacks, and the nearest words.
    """
    if vocabulary is None:
        return
    wanted = [each for question in predicate.questions for each in ([question.answer] if question.answer else YES_NO)]
    for answer, known in zip(wanted, vocabulary.known_choices(wanted), strict=True):
        if not known:
            raise RequestError(
                f"{option}: model {reference} cannot answer {answer!r}: it is not in its vocabulary; "
                f"{vocabulary.suggest([answer])}"
            )


def _score_if_equal(answer: Answer, wanted: str) -> float:
    """Return the score of an answer that equals the wanted one, 1 where it is unknown; 0 for any other answer."""
    text, score = answer.answers[0]
    if normalise(text) != normalise(wanted):
        return 0.0
    return 1.0 if answer.is_unscored else score


def _checked(score: float, question: Question) -> float:
    if not math.isfinite(score):
        raise RowError(ErrorCode.MODEL_ERROR, f"the model's score of {question.text!r} is {score}")
    return min(max(score, 0.0), 1.0)
