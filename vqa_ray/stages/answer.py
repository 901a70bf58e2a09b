"""The stage that answers questions: DECODED tables in, ANSWER or ANSWERS tables out."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.base import Answer
from vqa_ray.models.load import load_model
from vqa_ray.stages import batch


class AnswerStage:
    """A `map_batches` callable that holds one loaded model.

    Args:
        model: a model reference, see `vqa_ray.models.load`.
        top_k: answers to keep per question, at least 1.
        several: whether rows may bring several questions each; then ANSWERS rows come out, else ANSWER rows.
        device, dtype, compile: see `load_model`.
        attempt: how many times these rows have been tried, counting this one.
        threads: CPU threads for the model; None leaves the process as it is.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        top_k: int,
        *,
        several: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        attempt: int = 1,
        threads: int | None = None,
    ) -> None:
        limit_threads(threads)
        self._model = load_model(model, device=device, dtype=dtype, compile=compile)
        self._top_k = top_k
        self._several = several
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer a DECODED table (with kept columns): as many rows, in the same order."""
        questions = table["questions"].to_pylist()

        def answer(rows: list[int]) -> list[list[Answer]]:
            return self._answer(table, questions, rows)

        results = batch.call_or_isolate(answer, batch.ok_rows(table))
        failures = batch.failures_of(results)
        answered = {row: result for row, result in results.items() if not isinstance(result, RowError)}
        kept = batch.kept_fields(table)
        if self._several:
            output = schema.with_kept(schema.ANSWERS, kept)
            columns = _several_columns(questions, answered)
        else:
            output = schema.with_kept(schema.ANSWER, kept)
            columns = _single_columns(questions, answered)
        return batch.assemble(output, table, columns, failures, self._attempt)

    def _answer(self, table: pa.Table, questions: list[list[str]], rows: list[int]) -> list[list[Answer]]:
        """The answers to each row's questions; every distinct image goes to the model once."""
        if not all(questions[row] for row in rows):
            raise RowError(ErrorCode.QUESTION_MISSING, "the row brings no question")
        groups = batch.image_groups(table, rows)
        asked = [[question for row in group.rows for question in questions[row]] for group in groups]
        answers = self._model.answer([group.image for group in groups], asked, self._top_k)
        by_row: dict[int, list[Answer]] = {}
        for group, group_answers in zip(groups, answers, strict=True):
            rest = iter(group_answers)
            for row in group.rows:
                by_row[row] = [_checked(next(rest)) for _ in questions[row]]
        return [by_row[row] for row in rows]


def limit_threads(threads: int | None) -> None:
    """Give the numeric libraries of this process `threads` threads; before they are imported, or it is too late."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def _checked(answer: Answer) -> Answer:
    if not answer.answers:
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave no answer")
    if not all(math.isfinite(score) for _, score in answer.answers):
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave a score that is not a number")
    return answer


def _scored(answer: Answer) -> list[dict[str, Any]]:
    return [{"answer": text, "score": score} for text, score in answer.answers]


def _warnings(answered: dict[int, list[Answer]]) -> dict[int, str]:
    told = {row: dict.fromkeys(a.warning for a in answers if a.warning) for row, answers in answered.items()}
    return {row: "; ".join(warnings) for row, warnings in told.items() if warnings}


def _single_columns(
    questions: Sequence[Sequence[str] | None], answered: dict[int, list[Answer]]
) -> dict[str, dict[int, Any]]:
    first = {row: answers[0] for row, answers in answered.items()}
    return {
        "question": {row: asked[0] for row, asked in enumerate(questions) if asked},
        "answer": {row: answer.answers[0][0] for row, answer in first.items()},
        "answer_score": {row: answer.answers[0][1] for row, answer in first.items()},
        "answers": {row: _scored(answer) for row, answer in first.items()},
        "warning": _warnings(answered),
    }


def _several_columns(
    questions: Sequence[Sequence[str] | None], answered: dict[int, list[Answer]]
) -> dict[str, dict[int, Any]]:
    results = {
        row: [
            {"question": question, "answer": a.answers[0][0], "answer_score": a.answers[0][1], "answers": _scored(a)}
            for question, a in zip(questions[row] or (), answers, strict=True)
        ]
        for row, answers in answered.items()
    }
    return {"results": results, "warning": _warnings(answered)}
