"""Before and after vLLM: DECODED rows → requests to its engine → ANSWER rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.models.chat import vllm as vllm_engine
from vqa_ray.models.chat.vllm import VllmOptions
from vqa_ray.stages.answer import validate_answer
from vqa_ray.stages.model_stage import assemble, image_groups, kept_fields
from vqa_ray.stages.source_boxes import SourceSizes
from vqa_ray.types import Answer

Batch = dict[str, npt.NDArray[Any]]

# The question of a row that is already in error, so that every row passes the engine, at nearly no cost.
_NOTHING_ASKED = "."


class VllmRequests:
    """A `map_batches` callable: a DECODED table → one request per row.

    The row itself, without its pixels, passes the engine as Arrow bytes, so that its types survive.

    Args:
        max_new_tokens: of an answer.
    """

    def __init__(self, max_new_tokens: int) -> None:
        self._max_new_tokens = max_new_tokens

    def __call__(self, table: pa.Table) -> Batch:
        """Make the requests of a DECODED table.

        Returns:
            Columns `messages`, `sampling_params` and `carried`, as many rows in the same order.
        """
        pictures: dict[int, list[str]] = {}
        for group in image_groups(table, schema.ok_rows(table).tolist()):
            urls = [vllm_engine.picture_url(image) for image in (group.image, *group.extra)]
            pictures |= dict.fromkeys(group.rows, urls)
        rest = _without_pixels(table)
        made: Batch = {
            name: np.empty(table.num_rows, dtype=object) for name in ("messages", "sampling_params", "carried")
        }
        for row in range(table.num_rows):
            asked = table["questions"][row].as_py() if row in pictures else [_NOTHING_ASKED]
            turns = [(turn["question"], turn["answer"]) for turn in table["turns"][row].as_py() or ()]
            made["messages"][row] = vllm_engine.messages(
                asked[0], turns if row in pictures else (), pictures.get(row, ())
            )
            made["sampling_params"][row] = vllm_engine.sampling(self._max_new_tokens if row in pictures else 1)
            made["carried"][row] = _packed(rest.slice(row, 1))
        return made


class VllmAnswers:
    """A `map_batches` callable: the engine's output → an ANSWER table.

    Args:
        options: of the engine.
        boxes: write `boxes`, see `schema.answer_schema`.
        version: of the columns.
        attempt: the number of times these rows have been tried, this one included.
    """

    def __init__(
        self,
        options: VllmOptions,
        *,
        boxes: bool = False,
        version: int = schema.COLUMNS_VERSION,
        attempt: int = 1,
    ) -> None:
        self._options = options
        self._boxes = boxes
        self._form = schema.answer_schema(False, boxes, version)
        self._attempt = attempt

    def __call__(self, outputs: Batch) -> pa.Table:
        """Make ANSWER rows: as many, in the same order; a row that failed in the engine is an error row."""
        table = pa.concat_tables([_unpacked(carried) for carried in outputs["carried"]])
        answered: dict[int, Answer] = {}
        failures: dict[int, RowError] = {}
        for row in schema.ok_rows(table).tolist():
            try:
                answered[row] = self._answer({name: column[row] for name, column in outputs.items()}, table, row)
            except RowError as error:
                failures[row] = error
        best = {row: answer.answers[0] for row, answer in answered.items()}
        columns: dict[str, dict[int, Any]] = {
            "question": {row: asked[0] for row, asked in enumerate(table["questions"].to_pylist()) if asked},
            "answer": {row: text for row, (text, _) in best.items()},
            "answer_score": {row: score for row, (_, score) in best.items()},
            "answers": {row: [{"answer": text, "score": score}] for row, (text, score) in best.items()},
            "warning": {row: answer.warning for row, answer in answered.items()},
        }
        if self._boxes:
            sizes = SourceSizes(table)
            columns["boxes"] = {row: sizes.pixels(row, answer.boxes) for row, answer in answered.items()}
        output = schema.with_kept(self._form, kept_fields(table))
        return assemble(output, table, columns, failures, self._attempt)

    def _answer(self, output: Mapping[str, Any], table: pa.Table, row: int) -> Answer:
        seen = table["height"][row].as_py(), table["width"][row].as_py()
        answer = validate_answer(vllm_engine.answer_of(output, self._options, *seen))
        # Boxes do not name their image where a row has several.
        return replace(answer, boxes=()) if table["extra_images"][row].as_py() else answer


def _without_pixels(table: pa.Table) -> pa.Table:
    extra = [cell and [each | {"pixels": None} for each in cell] for cell in table["extra_images"].to_pylist()]
    place = table.schema.get_field_index("extra_images")
    column = pa.array(extra, pa.list_(schema.EXTRA_IMAGE))
    return table.set_column(place, table.schema.field(place), column).drop_columns(["pixels"])


def _packed(row: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_table(row)
    return bytes(sink.getvalue().to_pybytes())


def _unpacked(carried: bytes) -> pa.Table:
    return pa.ipc.open_stream(carried).read_all()
