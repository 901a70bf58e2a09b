"""A job, opened and checked, before Ray starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Protocol

import pyarrow as pa
from ray.data import Dataset

from vqa_ray import schema as columns
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.image_limits import image_limits
from vqa_ray.jobs.runtime.images_from import check_rows, image_table, join_images
from vqa_ray.jobs.runtime.kept_types import with_written_types
from vqa_ray.jobs.runtime.progress import announce_when_slow
from vqa_ray.jobs.runtime.second_model import OpenedSecond
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.grouping_group import GroupingGroup
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.readers import InputConfig, Source, open_source
from vqa_ray.readers.changes.recorded_input import earlier_run
from vqa_ray.readers.source import parse_keep
from vqa_ray.row_text.config import TextConfig
from vqa_ray.row_text.hidden_columns import TEXT
from vqa_ray.row_text.template import word
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.stages.read import ReadShard
from vqa_ray.storage.uri import redacted_uri

_FILES_PER_RUN, _MIN_ROWS_PER_FILE, _MAX_ROWS_PER_FILE = 64, 128, 10_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """The rows that one execution writes, and where.

    Attributes:
        record: of the run.
        directory: the run directory.
        tasks: the shards to read, without the rows that are written already.
        present: number of rows that are written already.
        total: number of all rows; None when unknown.
        fence: the right to write to the directory.
        is_retry: whether all of them have failed before.
    """

    record: RunRecord
    directory: RunDirectory
    tasks: Sequence[ReadShard]
    present: int
    total: int | None
    fence: Fence
    is_retry: bool = False


class Pipeline(Protocol):
    """Builds the lazy dataset of a job; each job brings its own."""

    @property
    def model(self) -> Checkpoint:
        """The model, opened."""

    def build(self, work: Attempt, plan: ResourcePlan) -> Dataset:
        """Build the rows of `work`, lazily.

        Args:
            work: the rows to read, and the record of their run.
            plan: where the parts of the pipeline run.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """A command, opened and checked.

    Attributes:
        record: of the command, as if its run were new.
        spec, source: of the command.
        schema: of the output, kept columns included.
        pipeline: builds the rows.
        limits: shard → rows to read of it; None for all.
        write_derived: called with the part files when all rows are written, before the manifest.
        second: the second model; None without one.
        may_differ: entries of the record's command that an update may change, which asks everything again.
    """

    record: RunRecord
    spec: RunSpec
    source: Source
    schema: pa.Schema
    pipeline: Pipeline
    limits: Mapping[int, int] | None = None
    write_derived: Callable[[Sequence[str]], None] | None = None
    second: OpenedSecond | None = None
    may_differ: frozenset[str] = frozenset()

    @property
    def total(self) -> int | None:
        """Count all rows; None when unknown."""
        return self.source.total_rows if self.limits is None else sum(self.limits.values())

    def file_schema(self, record: RunRecord) -> pa.Schema:
        """Give the schema of the part files, with metadata."""
        metadata = {
            "version": record.versions["vqa_ray"],
            "job": record.job,
            "run_id": record.run_id,
            "spec_hash": record.spec_hash,
            "model": dict(record.model),
        }
        return columns.with_metadata(self.schema, metadata)

    def rows_per_file(self, total: int | None) -> int:
        """Choose the rows of a file: as given, or so that a run makes some tens of files."""
        if self.spec.rows_per_file is not None:
            return self.spec.rows_per_file
        if total is None:
            return _MIN_ROWS_PER_FILE * 8
        return rows_per_file(total, _FILES_PER_RUN)

    def known_rows(self) -> Mapping[int, int]:
        """Map each shard to the rows that the output must have of it, where that is known."""
        if self.limits is not None:
            return self.limits
        return {shard.index: shard.rows for shard in self.source.shards if shard.rows is not None}


def rows_per_file(rows: int, files: int) -> int:
    """Choose the rows of a file so that so many rows make about so many files, none of them tiny or huge."""
    return min(max(rows // files, _MIN_ROWS_PER_FILE), _MAX_ROWS_PER_FILE)


def open_input(
    spec: RunSpec,
    questions: Sequence[str],
    *,
    needs_question: bool,
    reads_context: bool = False,
    reads_several: bool = False,
    question_template: str | None = None,
    text: TextConfig | None = None,
) -> Source:
    """Open the input of a spec; see `InputConfig` for the arguments."""
    if text is None:
        # Without a column to put in, nothing words the questions later.
        questions = [word(question, {}) for question in questions]
    keep, keep_as = parse_keep(spec.keep)
    table = image_table(spec)
    config = InputConfig(
        uri=spec.input,
        format=spec.input_format,
        columns=spec.columns,
        keep=keep,
        keep_as=keep_as,
        questions=tuple(questions),
        needs_question=needs_question,
        image_root=spec.image_root,
        allow_local=tuple(spec.allow_local),
        encoding=spec.encoding,
        reads_context=reads_context,
        reads_several=reads_several,
        question_template=question_template,
        text=text,
        group_by=spec.group_by if isinstance(spec, GroupingGroup) else None,
        together=isinstance(spec, GroupingGroup) and spec.is_together,
        pages=spec.page_range(),
    )
    if table is not None:
        # The id of a row is its key; what it says of an image itself does not count.
        key = {"image_id": table.ours}
        config = replace(config, columns={**config.columns, **key}, needs_image=False, reads_images=False)
    with announce_when_slow(f"reading the listing of {redacted_uri(spec.input)}"):
        source = with_written_types(open_source(config, earlier_run(spec.output, update=spec.update)), spec.output)
    if table is not None:
        check_rows(spec, source)
    return source


def output_schema(form: pa.Schema, source: Source) -> pa.Schema:
    """Append the kept columns to the schema of a job.

    Raises:
        RequestError: a kept column has the name of an output column.
    """
    read = zip_longest(source.passthrough, source.config.keep)
    named = [(field, theirs) for field, theirs in read if not field.name.startswith(TEXT)]
    kept = [field.with_name(columns.written_name(field.name)) for field, _ in named]
    for field, theirs in zip(kept, (theirs for _, theirs in named), strict=True):
        if theirs is not None and field.name in form.names:
            new = "truth" if theirs in ("answer", "answers") else f"input_{theirs}"
            raise RequestError(
                f"--keep {theirs}: the output has a column {field.name!r} of its own; keep yours under another name: "
                f"--keep {new}={theirs}"
            )
    return columns.with_kept(form, kept)


def image_config(spec: RunSpec, work: Attempt, model: Checkpoint, decoding: str = "") -> ImageConfig:
    """Give the configuration of fetching and decoding for a spec; `decoding` names the second of two."""
    return ImageConfig(
        model.transform,
        image_limits(spec),
        spec.fast_decode,
        spec.allow_http,
        f"{work.record.run_id}-{work.directory.attempt}{decoding}",
        # The rows that a second model gets have been joined.
        None if decoding else join_images(spec),
        isinstance(spec, GroupingGroup) and spec.is_together,
        spec.outage_timeout_s,
        spec.row_timeout_s,
        spec.dpi,
    )
