"""The stage of the second of two models, which joins its outcomes with those of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.schema import passthrough_name
from vqa_ray.stages.first_opinion import DECIDED
from vqa_ray.stages.model_actor import ModelActor, ModelStage
from vqa_ray.stages.model_stage import kept_fields
from vqa_ray.stages.opinions import Opinions, with_opinions
from vqa_ray.stages.questions import OUTCOME, PACKED


class SecondModelActor(ModelActor):
    """The actor of the second model; Ray names the operator after its class."""


class SecondOpinion:
    """Wraps the model stage of the second model, which is of the same kind as the first one's.

    Args:
        make_stage: loads the model and returns its stage.
        opinions: says how two outcomes become one.
    """

    def __init__(self, make_stage: Callable[[], ModelStage], opinions: Opinions) -> None:
        self._stage = make_stage()
        self._opinions = opinions

    def __call__(self, table: pa.Table) -> pa.Table:
        """Ask the second model about the rows that are not decided: as many rows, in the same order.

        Args:
            table: what `FirstOpinion` made, decoded for the second model.

        Returns:
            The columns of the stage, in front of their `status` those of `with_opinions`, then the kept columns.
        """
        outcomes = table[OUTCOME].combine_chunks()
        rows = table.drop_columns([OUTCOME])
        asked = rows.filter(pc.not_equal(rows["status"], DECIDED))
        second = iter(self._stage(asked).to_pylist() if asked.num_rows else ())
        firsts, statuses = outcomes.to_pylist(), rows["status"].to_pylist()
        pairs = zip(firsts, (None if status == DECIDED else next(second) for status in statuses), strict=True)
        joined = [self._joined(first, row) for first, row in pairs]
        form = self._form(list(outcomes.type))
        kept = kept_fields(rows)
        arrays = [pa.array([row.get(field.name) for row in joined], field.type) for field in form]
        arrays += [rows[passthrough_name(field.name)] for field in kept]
        return pa.table(arrays, schema=pa.schema([*form, *kept]))

    def _joined(self, first: Mapping[str, Any], second: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if PACKED not in first:
            return self._opinions.joined(first, second)
        by_question = {each["question_index"]: each for each in second[PACKED]} if second else {}
        return {**first, PACKED: list(self._questions(first[PACKED], by_question))}

    def _questions(
        self, first: list[dict[str, Any]], second: Mapping[int, Mapping[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        for each in first:
            yield self._opinions.joined(each, second.get(each["question_index"]))

    def _form(self, fields: list[pa.Field]) -> list[pa.Field]:
        value = self._opinions.value
        names = [field.name for field in fields]
        if PACKED not in names:
            return with_opinions(fields, value)
        inner = with_opinions(list(fields[names.index(PACKED)].type.value_type), value)
        return [pa.field(each.name, pa.list_(pa.struct(inner))) if each.name == PACKED else each for each in fields]
