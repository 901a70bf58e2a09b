"""An `index` command, opened and checked: no Ray yet, nothing written."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.index import version as versions
from vqa_ray.index.ann.build import check_possible
from vqa_ray.index.compatibility import require_compatible, require_same_columns
from vqa_ray.index.input_files import input_name
from vqa_ray.index.paths import IndexDirectory, existing_files
from vqa_ray.index.reader import Index
from vqa_ray.index.recovery import shared_options
from vqa_ray.index.update import IndexSchema, read_sources
from vqa_ray.index.version import Version
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.jobs.runtime.job import open_input, output_schema
from vqa_ray.jobs.runtime.kept_types import with_index_types
from vqa_ray.jobs.runtime.model import open_model
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.readers import InputConfig, Source
from vqa_ray.readers.listing import absolute
from vqa_ray.readers.source import ColumnMap, parse_keep
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
    kind = IndexSchema(
        model.record(model.similarity_meaning), shape.vectors, shape.dimension, shared_options(spec.command())
    )
    layout = IndexDirectory(spec.output)
    base = _base(layout)
    if base is not None:
        require_compatible(layout.uri, kind, base)
    spec = _as_known(spec, layout, base)
    source, there = _open(spec, base), None
    if base is not None:
        there = Index(layout, base).schema
        source = with_index_types(source, there)
    form = output_schema(schema.embedding_schema(shape.vectors, shape.dimension), source)
    if there is not None:
        require_same_columns(there, form)
    record = guard.new_record("index", spec, source, model)
    return IndexTask(spec, model, source, layout, kind, form, record)


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
    """Return the spec with its input spelled as the index, which knows its files by it, spells the same place."""
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
