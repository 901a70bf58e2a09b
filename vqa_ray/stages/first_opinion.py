"""The stage of the first of two models: DECODED tables in, READ tables out for the rows that need a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.stages.model_actor import ModelStage
from vqa_ray.stages.model_stage import kept_fields
from vqa_ray.stages.opinions import Opinions
from vqa_ray.stages.questions import OUTCOME, PACKED

# The status of rows that the second model is not asked about; fetching, decoding and models leave such rows alone.
DECIDED = "decided"
# Columns of READ that a second decoding needs → their names while the row passes through the first.
_CARRIED = {name: f"carried:{name}" for name in ("image", "extra_images")}


def carry_images(table: pa.Table) -> pa.Table:
    """Add the encoded images of a READ table a second time, under names that decoding passes on.

    A reference to an image stays a reference, whose image is fetched again for the second model.
    """
    for name, carried in _CARRIED.items():
        table = table.append_column(carried, table[name])
    return table


class FirstOpinion:
    """Wraps a model stage, and keeps what a second model needs: the images of the rows that it is asked about.

    Args:
        make_stage: loads the model and returns its stage.
        opinions: says which rows and questions the second model is asked about.
    """

    def __init__(self, make_stage: Callable[[], ModelStage], opinions: Opinions) -> None:
        self._stage = make_stage()
        self._opinions = opinions

    def __call__(self, table: pa.Table) -> pa.Table:
        """Ask the first model.

        Args:
            table: DECODED, with kept columns and those of `carry_images`.

        Returns:
            The same rows: READ columns, kept columns and `OUTCOME`. A row that the second model is not asked about has
            the status `DECIDED` and no image; of a row with several questions, those that are decided are null.
        """
        carried = {name: table[column] for name, column in _CARRIED.items()}
        table = table.drop_columns(list(_CARRIED.values()))
        answered = self._stage(table)
        kept = kept_fields(table)
        own = answered.drop_columns([field.name for field in kept if field.name in answered.column_names])
        outcomes = own.to_struct_array().combine_chunks()
        questions, wanted = self._wanted(table, outcomes.to_pylist())
        mask = pa.array(wanted)
        absent = pa.nulls(table.num_rows, pa.string())
        columns: dict[str, Any] = {
            "questions": pa.array(questions, schema.READ.field("questions").type),
            "status": pa.array([schema.STATUS_OK if each else DECIDED for each in wanted]),
            "error_code": absent,
            "error_message": absent,
            **{name: pc.if_else(mask, values, None) for name, values in carried.items()},
        }
        arrays = [columns.get(name, table[name] if name in table.column_names else None) for name in schema.READ.names]
        passed = [field for field in table.schema if field.name not in schema.DECODED.names]
        form = pa.schema([*schema.READ, *passed, pa.field(OUTCOME, outcomes.type)])
        return pa.Table.from_arrays([*arrays, *(table[field.name] for field in passed), outcomes], schema=form)

    def _wanted(self, table: pa.Table, outcomes: list[dict[str, Any]]) -> tuple[list[Any], npt.NDArray[np.bool_]]:
        """Return the questions for the second model, decided ones null, and which rows it is asked about."""
        questions: list[list[str | None] | None] = table["questions"].to_pylist()
        wanted = schema.is_ok(table)
        for row in np.flatnonzero(wanted).tolist():
            packed = outcomes[row].get(PACKED)
            if packed is None:
                wanted[row] = self._opinions.wants_second(outcomes[row])
                continue
            asked = {each["question_index"] for each in packed if self._opinions.wants_second(each)}
            wanted[row] = bool(asked)
            questions[row] = [text if place in asked else None for place, text in enumerate(questions[row] or ())]
        return questions, wanted
