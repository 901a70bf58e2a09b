"""The stage that captions images: DECODED tables in, CAPTION tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import GenerativeModel
from vqa_ray.stages.answer import best_score, validate_answer
from vqa_ray.stages.model_stage import ImageGroup, assemble, bisect_failures, image_groups, kept_fields
from vqa_ray.stages.source_boxes import SourceSizes
from vqa_ray.stages.usage import usage_columns, with_usage
from vqa_ray.types import Answer


@dataclass(frozen=True, slots=True)
class CaptionConfig:
    """Configuration of `CaptionStage`.

    Attributes:
        model: a generative model, and how to load it.
        prompt: the beginning of each caption; None for the model's own.
        boxes: write `boxes`, see `schema.caption_schema`.
        version: of the columns, see `schema.caption_schema`.
    """

    model: ModelOptions
    prompt: str | None = None
    boxes: bool = False
    version: int = schema.COLUMNS_VERSION


class CaptionStage:
    """A `map_batches` callable that holds one loaded generative model; an image that several rows show goes once.

    Args:
        config: see `CaptionConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(self, config: CaptionConfig, attempt: int = 1) -> None:
        self._config = config
        self._model = cast("GenerativeModel", config.model.load())
        form = schema.caption_schema(config.boxes, config.version)
        self._form = with_usage(form) if config.model.reports_usage else form
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Caption a DECODED table (with kept columns): as many rows, in the same order."""

        def caption(rows: list[int]) -> list[Answer]:
            return self._caption(table, rows)

        captioned, failures = bisect_failures(caption, schema.ok_rows(table).tolist())
        columns: dict[str, dict[int, Any]] = {
            "caption": {row: answer.answers[0][0] for row, answer in captioned.items()},
            "caption_score": {row: best_score(answer) for row, answer in captioned.items()},
            "finish_reason": {row: answer.finish_reason for row, answer in captioned.items()},
            "warning": {row: answer.warning for row, answer in captioned.items()},
            **usage_columns({row: [answer.usage] for row, answer in captioned.items()}),
        }
        if self._config.boxes:
            sizes = SourceSizes(table)
            columns["boxes"] = {row: sizes.pixels(row, answer.boxes) for row, answer in captioned.items()}
        output = schema.with_kept(self._form, kept_fields(table))
        return assemble(output, table, columns, failures, self._attempt)

    def _caption(self, table: pa.Table, rows: Sequence[int]) -> list[Answer]:
        """Caption each row; every distinct image goes to the model once."""
        groups = image_groups(table, rows)
        by_prompt: dict[str | None, list[ImageGroup]] = {}
        for group in groups:
            prompt = self._config.prompt and group.word(self._config.prompt)
            by_prompt.setdefault(prompt, []).append(group)
        by_row: dict[int, Answer] = {}
        for prompt, alike in by_prompt.items():
            captions = self._model.caption([group.image for group in alike], prompt)
            for group, caption in zip(alike, captions, strict=True):
                by_row |= dict.fromkeys(group.rows, validate_answer(caption))
        return [by_row[row] for row in rows]
