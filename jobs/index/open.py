"""An `index` command, opened and checked: no Ray yet, nothing written."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.index import version as versions
from vqa_ray.index.ann.build import check_possible
from vqa_ray.index.input_files import input_name
from vqa_ray.index.paths import IndexDirectory, existing_files
from vqa_ray.index.reader import Index
from vqa_ray.index.update import IndexSchema, read_sources
from vqa_ray.index.version import Version
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.jobs.runtime.job import open_input, output_schema
from vqa_ray.jobs.runtime.model import open_model
from vqa_ray.jobs.runtime.model_record import describe_model
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.readers import InputConfig, Source
from vqa_ray.readers.listing import absolute
from vqa_ray.readers.source import ColumnMap, parse_keep
from vqa_ray.runs.differences import option_of, told
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import passthrough_name
from vqa_ray.storage.canonical import is_same_place
from vqa_ray.storage.filesystem import exists
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.store_errors import store_failures, store_reason

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexTask:
    """What an `index` command has to do.

    Attributes:
        spec, source: what it works with; the source is the whole input.
        layout: of the index.
        kind: what all versions of the index share.
        schema: of the rows, kept columns included.
        record: what is asked, as if the update were new.
    """

    spec: IndexSpec
    model: Checkpoint
    source: Source
    layout: IndexDirectory
    kind: IndexSchema
    schema: pa.Schema
    record: RunRecord


def prepare(spec: IndexSpec) -> IndexTask:
    """Open the model and the input, and check them against the index that is there.

    Raises:
        RequestError: the model cannot embed, the input cannot be read, the index is of another model, other options
            or other columns, or the output holds something else.
    """
    model = open_model(spec, "embed")
    shape = model.shape
    if spec.ann == "always":
        check_possible(spec.model, shape.vectors)
    kind = IndexSchema(describe_model(model, model.similarity_meaning), shape.vectors, shape.dimension, spec.shared())
    layout = IndexDirectory(spec.output)
    base = _base(layout)
    if base is not None:
        check_kind(layout, kind, base)
    spec = _as_known(spec, layout, base)
    source = _open(spec, base)
    form = output_schema(schema.embedding_schema(shape.vectors, shape.dimension), source)
    if base is not None:
        _check_columns(Index(layout, base), form)
    record = guard.new_record("index", spec, source, model)
    return IndexTask(spec, model, source, layout, kind, form, record)


def check_kind(layout: IndexDirectory, kind: IndexSchema, base: Version) -> None:
    """Refuse to go on from a version that was made otherwise.

    Raises:
        RequestError: the model, its vectors or the options differ; both are named.
    """
    mine, theirs = kind.model, base.model
    if mine["fingerprint"] != theirs["fingerprint"]:
        same_name = mine["reference"] == theirs["reference"]
        other = "this model when it had other files" if same_name else f"another model, {theirs['reference']}"
        raise RequestError(
            f"--model {mine['reference']}: the index {layout.uri} was made with {other}; use that model, or another "
            "--output"
        )
    if (kind.vectors, kind.dimension) != (base.vectors, base.dimension):
        raise RequestError(
            f"--model {mine['reference']}: gives {kind.vectors} × {kind.dimension} numbers per image; the index "
            f"{layout.uri}, made with {theirs['reference']}, holds {base.vectors} × {base.dimension}"
        )
    differing = sorted(name for name in {*kind.command, *base.command} if _differs(name, kind.command, base.command))
    if differing:
        each = (
            f"{option_of(name)}: {told(base.command.get(name))} → {told(kind.command.get(name))}" for name in differing
        )
        raise RequestError(
            f"--output {layout.uri}: the index was made with other options: {'; '.join(each)}; use those"
        )


def _differs(name: str, mine: Any, theirs: Any) -> bool:
    return bool(mine.get(name) != theirs.get(name))


def _base(layout: IndexDirectory) -> Version | None:
    try:
        base = versions.latest(layout)
        if base is None and not layout.update_names():
            refuse_foreign_files(
                f"--output {layout.uri}", [entry.uri for entry in existing_files(layout.uri)], "an index"
            )
            refuse_inside_output("--output", layout.uri)
    except NotADirectoryError as error:
        raise RequestError(f"--output {layout.uri}: a part of the path is a file, not a directory") from error
    except store_failures() as error:
        raise RequestError(f"--output {layout.uri}: cannot be read: {store_reason(error)}") from error
    return base


def _as_known(spec: IndexSpec, layout: IndexDirectory, base: Version | None) -> IndexSpec:
    """The spec with its input spelled as the index knows it, where the two are one place: its files are known by it."""
    for known in pc.unique(read_sources(layout, base)["input"]).to_pylist():
        if known == input_name(spec.input):
            break
        if is_same_place(known, spec.input):
            return spec.model_copy(update={"input": known})
    return spec


def _open(spec: IndexSpec, base: Version | None) -> Source:
    if spec.allow_empty and base is not None and not (exists(spec.input) and existing_files(spec.input)):
        logger.warning("%s: the input is empty: all that came from it leaves the index", spec.input)
        keep, keep_as = parse_keep(spec.keep)
        stored = Index(IndexDirectory(spec.output), base).schema
        kept = tuple(stored.field(name).with_name(passthrough_name(name)) for name in keep_as)
        config = InputConfig(spec.input, "images", keep=keep, keep_as=keep_as, needs_question=False)
        return Source(config, "images", absolute(spec.input), (), kept, ColumnMap(), 0, "", False)
    return open_input(spec, (), needs_question=False)


def _check_columns(index: Index, form: pa.Schema) -> None:
    for field in form:
        there = index.schema.field(field.name).type
        if there != field.type:
            raise RequestError(f"--keep {field.name}: is {field.type} in the input and {there} in the index")
