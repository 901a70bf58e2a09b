"""The stage that describes images: DECODED tables in, CAPTION tables out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import GenerativeModel
from vqa_ray.stages import model_stage as batch
from vqa_ray.stages.answer import limit_threads, validate_answer
from vqa_ray.stages.source_boxes import SourceSizes
from vqa_ray.types import Answer


class CaptionStage:
    """A `map_batches` callable that holds one loaded generative model; an image that several rows show goes once.

    Args:
        model: which one, and how it is loaded.
        prompt: what captions begin with; None leaves it to the model.
        boxes: whether `boxes` are written, see `schema.caption_schema`.
        version: of the columns, see `schema.caption_schema`.
        attempt: how many times these rows have been tried, counting this one.
        threads: CPU threads for the model; None leaves the process as it is.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: ModelOptions,
        *,
        prompt: str | None = None,
        boxes: bool = False,
        version: int = schema.COLUMNS_VERSION,
        attempt: int = 1,
        threads: int | None = None,
    ) -> None:
        limit_threads(threads)
        self._model = cast("GenerativeModel", model.load())
        self._prompt = prompt
        self._boxes = boxes
        self._form = schema.caption_schema(boxes, version)
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Caption a DECODED table (with kept columns): as many rows, in the same order."""

        def caption(rows: list[int]) -> list[Answer]:
            return self._caption(table, rows)

        results = batch.bisect_failures(caption, batch.ok_rows(table))
        captioned = {row: result for row, result in results.items() if not isinstance(result, RowError)}
        columns: dict[str, dict[int, Any]] = {
            "caption": {row: answer.answers[0][0] for row, answer in captioned.items()},
            "caption_score": {row: answer.answers[0][1] for row, answer in captioned.items()},
            "finish_reason": {row: answer.finish_reason for row, answer in captioned.items()},
            "warning": {row: answer.warning for row, answer in captioned.items()},
        }
        if self._boxes:
            sizes = SourceSizes(table)
            columns["boxes"] = {row: sizes.pixels(row, answer.boxes) for row, answer in captioned.items()}
        output = schema.with_kept(self._form, batch.kept_fields(table))
        return batch.assemble(output, table, columns, batch.failures_of(results), self._attempt)

    def _caption(self, table: pa.Table, rows: Sequence[int]) -> list[Answer]:
        """The caption of each row; every distinct image goes to the model once."""
        groups = batch.image_groups(table, rows)
        captions = self._model.caption([group.image for group in groups], self._prompt)
        by_row: dict[int, Answer] = {}
        for group, caption in zip(groups, captions, strict=True):
            by_row |= dict.fromkeys(group.rows, validate_answer(caption))
        return [by_row[row] for row in rows]
