"""The stage that answers questions: DECODED tables in, ANSWER, ANSWERS or packed ANSWER tables out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import GenerativeModel
from vqa_ray.stages import questions
from vqa_ray.stages.model_stage import assemble, bisect_failures, image_groups, kept_fields
from vqa_ray.stages.questions import QuestionUnit
from vqa_ray.stages.source_boxes import SourceSizes
from vqa_ray.stages.usage import usage_cells, usage_columns, with_usage
from vqa_ray.types import Answer, Image, Turn

# Column → row → value.
_Columns: TypeAlias = dict[str, dict[int, Any]]


@dataclass(frozen=True, slots=True)
class AnswerConfig:
    """Configuration of `AnswerStage`.

    Attributes:
        model: the model, and how to load and prompt it; a generative one where rows bring earlier turns.
        top_k: answers to keep per question, at least 1.
        multi_question: rows may bring several questions each; otherwise the output is ANSWER rows.
        nested: with `multi_question`, the output is ANSWERS rows; otherwise rows of `questions.packed_schema`, which
            `questions.one_row_per_question` turns into ANSWER rows.
        boxes: write `boxes`, see `schema.answer_schema`.
        version: of the columns.
    """

    model: ModelOptions
    top_k: int
    multi_question: bool = False
    nested: bool = False
    boxes: bool = False
    version: int = schema.COLUMNS_VERSION


class AnswerStage:
    """A `map_batches` callable that holds one loaded model.

    Args:
        config: see `AnswerConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(self, config: AnswerConfig, attempt: int = 1) -> None:
        self._config = config
        self._model = config.model.load()
        self._nested = config.multi_question and config.nested
        form = schema.answer_schema(self._nested, config.boxes, config.version)
        self._form = with_usage(form) if config.model.reports_usage else form
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer a DECODED table (with kept columns): as many rows, in the same order."""
        table = questions.with_worded_questions(table)
        asked = table["questions"].to_pylist()
        turns = [_turns(cell) for cell in table["turns"].to_pylist()]
        apart = self._config.multi_question and not self._nested
        units = questions.question_units(asked, schema.ok_rows(table).tolist(), apart=apart)

        def answer(numbers: list[int]) -> list[list[Answer]]:
            return self._answer(table, asked, turns, [units[number] for number in numbers])

        answered, failed = bisect_failures(answer, range(len(units)))
        form = schema.with_kept(self._form, kept_fields(table))
        sizes = SourceSizes(table) if self._config.boxes else None
        if apart:
            # A unit is one question at most; one without a question has failed.
            outcomes: dict[int, dict[str, Any] | RowError] = {
                **failed,
                **{number: _result(units[number].row, None, answers[0], sizes) for number, answers in answered.items()},
            }
            by_question = {
                (units[number].row, units[number].indices[0] if units[number].indices else 0): outcome
                for number, outcome in outcomes.items()
            }
            cells = {questions.PACKED: questions.pack(table, by_question)}
            return assemble(questions.packed_schema(form), table, cells, {}, self._attempt)
        by_row = {units[number].row: answers for number, answers in answered.items()}
        failures = {units[number].row: error for number, error in failed.items()}
        columns = (_nested_columns if self._nested else _single_columns)(asked, by_row, sizes)
        return assemble(form, table, columns, failures, self._attempt)

    def _answer(
        self,
        table: pa.Table,
        asked: Sequence[Sequence[str]],
        turns: Sequence[list[Turn]],
        units: Sequence[QuestionUnit],
    ) -> list[list[Answer]]:
        """Answer the questions of each unit; every distinct image goes to the model once."""
        if not all(unit.indices for unit in units):
            raise RowError(ErrorCode.QUESTION_MISSING, "the row brings no question")
        top_k = self._config.top_k
        by_row: dict[int, list[int]] = {}
        for number, unit in enumerate(units):
            by_row.setdefault(unit.row, []).append(number)
        groups = image_groups(table, list(by_row))
        images = cast("list[Image]", [group.shown for group in groups])
        numbers = [[number for row in group.rows for number in by_row[row]] for group in groups]
        texts = [[asked[units[n].row][index] for n in group for index in units[n].indices] for group in numbers]
        if any(turns[row] for row in by_row):
            before = [[turns[units[n].row] for n in group for _ in units[n].indices] for group in numbers]
            answers = cast("GenerativeModel", self._model).answer(images, texts, top_k, contexts=before)
        else:
            answers = self._model.answer(images, texts, top_k)
        by_unit: dict[int, list[Answer]] = {}
        for group, group_answers in zip(numbers, answers, strict=True):
            rest = iter(group_answers)
            for number in group:
                by_unit[number] = [validate_answer(next(rest)) for _ in units[number].indices]
        return [by_unit[number] for number in range(len(units))]


def validate_answer(answer: Answer) -> Answer:
    """Return an answer that may be written.

    Raises:
        RowError: `model_error` when the model gave no answer, or a score that is NaN or infinite without saying so.
    """
    if not answer.answers:
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave no answer")
    if not answer.is_unscored and not all(math.isfinite(score) for _, score in answer.answers):
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave a score that is not a number")
    return answer


def _turns(cell: Sequence[dict[str, str]] | None) -> list[Turn]:
    return [(turn["question"], turn["answer"]) for turn in cell or ()]


def _scored(answer: Answer) -> list[dict[str, Any]]:
    return [{"answer": text, "score": None if answer.is_unscored else score} for text, score in answer.answers]


def best_score(answer: Answer) -> float | None:
    """Return the score of the best answer; None where it is unknown."""
    return None if answer.is_unscored else answer.answers[0][1]


def _warnings(answered: dict[int, list[Answer]]) -> dict[int, str]:
    distinct = {row: dict.fromkeys(a.warning for a in answers if a.warning) for row, answers in answered.items()}
    return {row: "; ".join(warnings) for row, warnings in distinct.items() if warnings}


def _result(row: int, question: str | None, answer: Answer, sizes: SourceSizes | None) -> dict[str, Any]:
    """Return the cells of one answer, by column; with `question` where it is given."""
    cells: dict[str, Any] = usage_cells(answer.usage) if question is None else {"question": question}
    cells |= {"answer": answer.answers[0][0], "answer_score": best_score(answer)}
    cells |= {"finish_reason": answer.finish_reason, "answers": _scored(answer)}
    cells |= {"warning": answer.warning}
    return cells if sizes is None else cells | {"boxes": sizes.pixels(row, answer.boxes)}


def _single_columns(
    questions: Sequence[Sequence[str] | None], answered: dict[int, list[Answer]], sizes: SourceSizes | None
) -> _Columns:
    columns: _Columns = {
        "question": {row: asked[0] for row, asked in enumerate(questions) if asked},
        "answer": {},
        "answer_score": {},
        "answers": {},
        **usage_columns({}),
    }
    for row, answers in answered.items():
        for name, value in _result(row, None, answers[0], sizes).items():
            columns.setdefault(name, {})[row] = value
    if sizes is not None:
        columns.setdefault("boxes", {})
    return columns


def _nested_columns(
    questions: Sequence[Sequence[str] | None], answered: dict[int, list[Answer]], sizes: SourceSizes | None
) -> _Columns:
    results = {
        row: [
            _result(row, question, answer, sizes)
            for question, answer in zip(questions[row] or (), answers, strict=True)
        ]
        for row, answers in answered.items()
    }
    used = usage_columns({row: [answer.usage for answer in answers] for row, answers in answered.items()})
    return {"results": results, "warning": _warnings(answered), **used}
