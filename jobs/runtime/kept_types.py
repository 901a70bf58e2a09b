"""The types of kept columns in a run that goes on, and in an index that is brought up to date."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.readers import Source
from vqa_ray.readers.columns import is_text
from vqa_ray.readers.passthrough_types import can_become
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_schema
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import written_name


def with_written_types(source: Source, output: str) -> Source:
    """Return the input with kept columns of the types that the rows of the run have already.

    Types come from the beginning of the input, and from all its files: a file that changed or is gone, or another
    version, may see others, and then the part files of one run would not fit to each other. Values that do not fit are
    errors of their rows.
    """
    directory = RunDirectory(output)
    if not source.passthrough or RunRecord.read(directory.record) is None:
        return source
    for part in directory.part_files():
        try:
            written = read_schema(part.uri)
        except RequestError:
            # A process that was killed may leave part of a file, which is cleared away before the run goes on.
            continue
        types = {field.name: field.type for field in written}
        kept = (field.with_type(types.get(written_name(field.name), field.type)) for field in source.passthrough)
        return replace(source, passthrough=tuple(kept))
    return source


def with_index_types(source: Source, index: pa.Schema) -> Source:
    """Return the input with kept columns of the types that they have in the index, where both are of one kind.

    A file that has come since, or another version, may make the types of an input wider. Values that do not fit are
    errors of their rows.
    """
    there = {field.name: field.type for field in index}
    kept = []
    for field in source.passthrough:
        stored = there.get(written_name(field.name), field.type)
        is_of_one_kind = is_text(stored) == is_text(field.type) and can_become(field.type, stored)
        kept.append(field.with_type(stored) if is_of_one_kind else field)
    return replace(source, passthrough=tuple(kept))
