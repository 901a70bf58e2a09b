"""The stage of a second model that judges what a teacher has written, in place of writing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.conversation.conversation import IMAGE_MARKER
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import VqaModel
from vqa_ray.stages.model_stage import bisect_failures, image_groups, kept_fields
from vqa_ray.stages.prepare import EMBEDDED
from vqa_ray.stages.questions import OUTCOME, PACKED
from vqa_ray.stages.usage import usage_cells
from vqa_ray.types import ChoiceScores, Image

YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """Configuration of `VerifyStage`.

    Attributes:
        model: the second model, and how to load it.
        min_agreement: P(yes) below which a conversation is filtered.
    """

    model: ModelOptions
    min_agreement: float


class VerifyStage:
    """A `map_batches` callable that holds one loaded model.

    Args:
        config: see `VerifyConfig`.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(self, config: VerifyConfig) -> None:
        self._config = config
        self._model: VqaModel = config.model.load()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Judge the conversations of rows: as many rows, in the same order.

        Args:
            table: what `FirstOpinion` made of an `InstructStage`, decoded for the second model.

        Returns:
            The columns of the stage with `agreement`, then the kept columns. A conversation that the model does not
            agree with, or that it fails on, is a row in error.
        """
        outcomes = table[OUTCOME].combine_chunks()
        rows = table.drop_columns([OUTCOME])
        cells: list[dict[str, Any]] = outcomes.to_pylist()
        places = [
            (row, place)
            for row, cell in enumerate(cells)
            for place, each in enumerate(cell[PACKED])
            if each["status"] == schema.STATUS_OK
        ]
        failures = {row: error for row, error in enumerate(_errors(rows)) if error is not None}
        asked = [number for number, (row, _) in enumerate(places) if row not in failures]

        def judge(numbers: list[int]) -> list[ChoiceScores]:
            return self._judge(rows, [(places[n][0], cells[places[n][0]][PACKED][places[n][1]]) for n in numbers])

        judged, failed = bisect_failures(judge, asked)
        for number, (row, place) in enumerate(places):
            error = failures.get(row) or failed.get(number)
            packed = cells[row][PACKED]
            packed[place] = self._with_verdict(packed[place], judged.get(number), error)
        form, kept = list(outcomes.type), [each for each in kept_fields(rows) if each.name != EMBEDDED]
        arrays = [pa.array([cell[part.name] for cell in cells], part.type) for part in form]
        arrays += [rows[schema.passthrough_name(part.name)] for part in kept]
        return pa.table(arrays, schema=pa.schema([*form, *kept]))

    def _judge(self, rows: pa.Table, asked: Sequence[tuple[int, Mapping[str, Any]]]) -> list[ChoiceScores]:
        """Ask whether the answers of conversations are right: P(yes), P(no)."""
        by_row: dict[int, list[int]] = {}
        for number, (row, _) in enumerate(asked):
            by_row.setdefault(row, []).append(number)
        groups = image_groups(rows, list(by_row))
        numbers = [[number for row in group.rows for number in by_row[row]] for group in groups]
        questions = [[question_of(asked[number][1]["conversation"]) for number in of_image] for of_image in numbers]
        images = cast("list[Image]", [group.shown for group in groups])
        found = self._model.score(images, questions, [[YES_NO] * len(of_image) for of_image in numbers])
        scores = {
            n: each
            for of_image, cells in zip(numbers, found, strict=True)
            for n, each in zip(of_image, cells, strict=True)
        }
        return [scores[number] for number in range(len(asked))]

    def _with_verdict(
        self, outcome: dict[str, Any], scores: ChoiceScores | None, error: RowError | None
    ) -> dict[str, Any]:
        if scores is None:
            assert error is not None
            return {**outcome, "conversation": None, **schema.error_cells(error)}
        yes, no = scores.scores
        is_number = math.isfinite(yes + no)
        outcome = {**outcome, "agreement": (yes / (yes + no) if yes + no else 0.0) if is_number else None}
        for name, more in usage_cells(scores.usage).items():
            if more is not None:
                outcome[name] = (outcome[name] or 0) + more
        if not is_number:
            unknown = RowError(ErrorCode.MODEL_ERROR, "the second model gave a score that is not a number")
            return {**outcome, "conversation": None, **schema.error_cells(unknown)}
        if outcome["agreement"] >= self._config.min_agreement:
            return outcome
        reason = f"the second model says yes with {outcome['agreement']:.3f}, less than --min-agreement"
        disagreed = RowError(ErrorCode.FILTERED_DISAGREEMENT, f"{reason} {self._config.min_agreement:g}")
        return {**outcome, "conversation": None, **schema.error_cells(disagreed)}


def question_of(cells: Sequence[Mapping[str, str]]) -> str:
    """Return the question whether the answers of a conversation are right."""
    names = {"user": "Question", "assistant": "Answer"}
    said = "\n".join(f"{names[cell['role']]}: {cell['text'].removeprefix(IMAGE_MARKER).strip()}" for cell in cells)
    return f"{said}\n\nIs everything that is answered here right, by what the image shows? Answer yes or no."


def _errors(rows: pa.Table) -> list[RowError | None]:
    """Return the error of each row that could not be decoded for the second model."""
    cells = zip(*(rows[part.name].to_pylist() for part in schema.STATUS), strict=True)
    return [
        RowError(ErrorCode(code), message) if status == schema.STATUS_ERROR else None for status, code, message in cells
    ]
