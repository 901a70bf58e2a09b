"""The types of kept columns in a run that goes on."""

from __future__ import annotations

from dataclasses import replace

from vqa_ray.errors import RequestError
from vqa_ray.readers import Source
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
