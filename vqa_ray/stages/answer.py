"""The stage that answers questions: DECODED tables in, ANSWER or ANSWERS tables out."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.base import Answer, GenerativeModel, Image, Turn
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages import batch
from vqa_ray.stages.boxes import SourceSizes

# Column → row → value.
_Columns: TypeAlias = dict[str, dict[int, Any]]


class AnswerStage:
    """A `map_batches` callable that holds one loaded model.

    Args:
        model: which one, and how it is loaded and asked. It is generative where rows bring earlier turns.
        top_k: answers to keep per question, at least 1.
        several: whether rows may bring several questions each; then ANSWERS rows come out, else ANSWER rows.
        boxes: whether `boxes` are written, see `schema.answer_schema`.
        attempt: how many times these rows have been tried, counting this one.
        threads: CPU threads for the model; None leaves the process as it is.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: ModelOptions,
        top_k: int,
        *,
        several: bool = False,
        boxes: bool = False,
        attempt: int = 1,
        threads: int | None = None,
    ) -> None:
        limit_threads(threads)
        self._model = model.load()
        self._top_k = top_k
        self._several = several
        self._boxes = boxes
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer a DECODED table (with kept columns): as many rows, in the same order."""
        questions = table["questions"].to_pylist()
        turns = [_turns(cell) for cell in table["turns"].to_pylist()]

        def answer(rows: list[int]) -> list[list[Answer]]:
            return self._answer(table, questions, turns, rows)

        results = batch.call_or_isolate(answer, batch.ok_rows(table))
        answered = {row: result for row, result in results.items() if not isinstance(result, RowError)}
        output = schema.with_kept(schema.answer_schema(self._several, self._boxes), batch.kept_fields(table))
        sizes = SourceSizes(table) if self._boxes else None
        columns = (_several_columns if self._several else _single_columns)(questions, answered, sizes)
        return batch.assemble(output, table, columns, batch.failures_of(results), self._attempt)

    def _answer(
        self, table: pa.Table, questions: list[list[str]], turns: list[list[Turn]], rows: list[int]
    ) -> list[list[Answer]]:
        """The answers to each row's questions; every distinct image goes to the model once."""
        if not all(questions[row] for row in rows):
            raise RowError(ErrorCode.QUESTION_MISSING, "the row brings no question")
        groups = batch.image_groups(table, rows)
        images = cast("list[Image]", [group.shown for group in groups])
        asked = [[question for row in group.rows for question in questions[row]] for group in groups]
        if any(turns[row] for row in rows):
            before = [[turns[row] for row in group.rows for _ in questions[row]] for group in groups]
            answers = cast("GenerativeModel", self._model).answer(images, asked, self._top_k, contexts=before)
        else:
            answers = self._model.answer(images, asked, self._top_k)
        by_row: dict[int, list[Answer]] = {}
        for group, group_answers in zip(groups, answers, strict=True):
            rest = iter(group_answers)
            for row in group.rows:
                by_row[row] = [checked(next(rest)) for _ in questions[row]]
        return [by_row[row] for row in rows]


def limit_threads(threads: int | None) -> None:
    """Give the numeric libraries of this process `threads` threads; before they are imported, or it is too late."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def checked(answer: Answer) -> Answer:
    """An answer as it may be written.

    Raises:
        RowError: `model_error` when the model said nothing at all, or scored it with something that is no number.
    """
    if not answer.answers:
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave no answer")
    if not all(math.isfinite(score) for _, score in answer.answers):
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave a score that is not a number")
    return answer


def _turns(cell: Sequence[dict[str, str]] | None) -> list[Turn]:
    return [(turn["question"], turn["answer"]) for turn in cell or ()]


def _scored(answer: Answer) -> list[dict[str, Any]]:
    return [{"answer": text, "score": score} for text, score in answer.answers]


def _warnings(answered: dict[int, list[Answer]]) -> dict[int, str]:
    told = {row: dict.fromkeys(a.warning for a in answers if a.warning) for row, answers in answered.items()}
    return {row: "; ".join(warnings) for row, warnings in told.items() if warnings}


def _single_columns(
    questions: Sequence[Sequence[str] | None], answered: dict[int, list[Answer]], sizes: SourceSizes | None
) -> _Columns:
    first = {row: answers[0] for row, answers in answered.items()}
    columns: _Columns = {
        "question": {row: asked[0] for row, asked in enumerate(questions) if asked},
        "answer": {row: answer.answers[0][0] for row, answer in first.items()},
        "answer_score": {row: answer.answers[0][1] for row, answer in first.items()},
        "answers": {row: _scored(answer) for row, answer in first.items()},
        "finish_reason": {row: answer.finish_reason for row, answer in first.items()},
        "warning": _warnings(answered),
    }
    if sizes is not None:
        columns["boxes"] = {row: sizes.pixels(row, answer.boxes) for row, answer in first.items()}
    return columns


def _several_columns(
    questions: Sequence[Sequence[str] | None], answered: dict[int, list[Answer]], sizes: SourceSizes | None
) -> _Columns:
    def result(row: int, question: str, answer: Answer) -> dict[str, Any]:
        best, score = answer.answers[0]
        told = {
            "question": question,
            "answer": best,
            "answer_score": score,
            "answers": _scored(answer),
            "finish_reason": answer.finish_reason,
        }
        return told if sizes is None else told | {"boxes": sizes.pixels(row, answer.boxes)}

    results = {
        row: [result(row, question, answer) for question, answer in zip(questions[row] or (), answers, strict=True)]
        for row, answers in answered.items()
    }
    return {"results": results, "warning": _warnings(answered)}
