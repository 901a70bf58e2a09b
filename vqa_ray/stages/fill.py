"""The stage that fills objects: DECODED tables in, tables of `ObjectSchema.form` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from vqa_ray import schema as columns
from vqa_ray.errors import RowError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import StructuredModel
from vqa_ray.models.writes_objects import writes_objects
from vqa_ray.stages.model_stage import ImageGroup, assemble, bisect_failures, image_groups, kept_fields
from vqa_ray.stages.usage import usage_columns, with_usage
from vqa_ray.structured.closed import ClosedObject
from vqa_ray.structured.filled import FilledObject, read_object
from vqa_ray.structured.grammar import check_grammar, check_tokenizer
from vqa_ray.structured.object_schema import OBJECT_JSON, ObjectSchema
from vqa_ray.structured.prompt import object_prompt
from vqa_ray.types import Image, Usage


@dataclass(frozen=True, slots=True)
class FillConfig:
    """Configuration of `FillStage`.

    Attributes:
        model: the model, and how to load and prompt it.
        schema: of the objects.
        request: the first words of the prompt; None for the schema's own.
    """

    model: ModelOptions
    schema: ObjectSchema
    request: str | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The object of a row, or its error, with the text as far as it came."""

    object: FilledObject | None
    text: str
    finish_reason: str | None = None
    error: RowError | None = None
    usage: Usage | None = None


def check_model(schema: ObjectSchema, model: Checkpoint, where: str) -> bool:
    """Check that a model can fill the objects of a schema; return whether it writes them.

    Args:
        schema: of the objects.
        model: that fills them.
        where: the name of the schema, for messages.

    Raises:
        RequestError: a field that it cannot fill, by name.
    """
    if writes_objects(model.family):
        check_grammar(schema, where)
        if model.path is not None:
            check_tokenizer(schema, model.path, model.label, where)
        return True
    label = f"{model.label}: {model.family.display_name}"
    closed = ClosedObject.of(schema, label, where)
    if model.vocabulary is not None:
        closed.check_against(model.vocabulary, label, where)
    return False


class FillStage:
    """A `map_batches` callable that holds one loaded model and a schema; an image that several rows show goes once.

    Args:
        config: see `FillConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
        RequestError: the model only scores choices, and the schema has other fields, or choices outside its vocabulary.
    """

    def __init__(self, config: FillConfig, attempt: int = 1) -> None:
        self._schema, self._attempt = config.schema, attempt
        self._model: Any = config.model.load()
        self._form = with_usage(config.schema.form) if config.model.reports_usage else config.schema.form
        self._closed = None
        if not writes_objects(config.model.checkpoint.family):
            self._closed = ClosedObject.of(config.schema, config.model.reference, "--schema")
            self._closed.check_against(self._model, config.model.reference, "--schema")
        self._prompt = object_prompt(config.schema, config.request)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Fill an object for each row of a DECODED table (with kept columns): as many rows, in the same order."""

        def fill(rows: list[int]) -> list[_Outcome]:
            groups = image_groups(table, rows)
            outcomes = self._scored(groups) if self._closed else self._written(groups)
            by_row = {row: each for group, each in zip(groups, outcomes, strict=True) for row in group.rows}
            return [by_row[row] for row in rows]

        outcomes, failures = bisect_failures(fill, columns.ok_rows(table).tolist())
        failures |= {row: each.error for row, each in outcomes.items() if each.error}
        filled = {row: each.object for row, each in outcomes.items() if each.object}
        cells: dict[str, dict[int, Any]] = {
            OBJECT_JSON.name: {row: each.text for row, each in outcomes.items()},
            "finish_reason": {row: each.finish_reason for row, each in outcomes.items()},
            "warning": {row: each.warning for row, each in filled.items()},
        }
        for field in self._schema.fields:
            cells[field.name] = {row: each.values[field.name] for row, each in filled.items()}
            cells[f"{field.name}_score"] = {row: each.scores[field.name] for row, each in filled.items()}
        cells |= usage_columns({row: [each.usage] for row, each in outcomes.items()})
        form = columns.with_kept(self._form, kept_fields(table))
        return assemble(form, table, cells, failures, self._attempt)

    def _written(self, groups: Sequence[ImageGroup]) -> list[_Outcome]:
        model = cast("StructuredModel", self._model)
        prompts = [group.word(self._prompt) for group in groups]
        outcomes = []
        for written in model.fill([group.shown for group in groups], prompts, self._schema.wire):
            try:
                found = read_object(self._schema, written)
            except RowError as error:
                outcomes.append(_Outcome(None, written.text, written.finish_reason, error, written.usage))
            else:
                outcomes.append(_Outcome(found, found.text, written.finish_reason, usage=written.usage))
        return outcomes

    def _scored(self, groups: Sequence[ImageGroup]) -> list[_Outcome]:
        assert self._closed is not None
        asked = self._closed.questions
        images = cast("list[Image]", [group.shown for group in groups])
        found = self._model.score(
            images,
            [[group.word(each.question) for each in asked] for group in groups],
            [[each.choices for each in asked]] * len(groups),
        )
        outcomes = []
        for scored in found:
            warning = "; ".join(dict.fromkeys(each.warning for each in scored if each.warning)) or None
            filled = self._closed.fill([each.scores for each in scored], warning)
            outcomes.append(_Outcome(filled, filled.text))
        return outcomes
