"""Scores of given choices: DECODED tables in, results out."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.api.results import ScoreResult, error_of
from vqa_ray.errors import RowError
from vqa_ray.models.protocols import VqaModel
from vqa_ray.stages.model_stage import bisect_failures, image_groups


def score_choices(model: VqaModel, choices: Sequence[str], table: pa.Table) -> list[list[ScoreResult | RowError]]:
    """Score the same choices for every question of a DECODED table; every distinct image goes to the model once.

    Args:
        model: scores the choices.
        choices: the texts to score.
        table: the images and their questions.

    Returns:
        For each row, a result per question.
    """
    questions = table["questions"].to_pylist()

    def score(rows: list[int]) -> list[list[ScoreResult]]:
        groups = image_groups(table, rows)
        asked = [[text for row in group.rows for text in questions[row]] for group in groups]
        scored = model.score(
            [group.image for group in groups], asked, [[tuple(choices)] * len(texts) for texts in asked]
        )
        by_row: dict[int, list[ScoreResult]] = {}
        for group, results in zip(groups, scored, strict=True):
            rest = iter(results)
            for row in group.rows:
                by_row[row] = [
                    ScoreResult(dict(zip(choices, each.scores, strict=True)), each.warning)
                    for each in (next(rest) for _ in questions[row])
                ]
        return [by_row[row] for row in rows]

    found, failed = bisect_failures(score, schema.ok_rows(table).tolist())
    lost = [error_of(row) for row in table.select(["status", "error_code", "error_message"]).to_pylist()]
    errors = {row: error for row, error in enumerate(lost) if error is not None} | failed
    return [[errors[row]] * len(asked) if row in errors else list(found[row]) for row, asked in enumerate(questions)]
