"""The tags of a `tag` run, joined to the rows of an index."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord

# Prefix of a tag column whose name is taken by a column of the index.
PREFIX = "tag_"
_OWN = frozenset(field.name for field in schema.tag_schema(())) - {"tags"}


@dataclass(frozen=True, slots=True)
class JoinedTags:
    """The columns of a tag run, joined to the rows of an index.

    Attributes:
        columns: one row for each row of the index, in its order; null where an image was not tagged.
        matched: the number of rows of the index that were tagged.
    """

    columns: pa.Table
    matched: int


def join_tags(rows: pa.Table, run: str) -> JoinedTags:
    """Join the tags of a run to the rows of an index.

    A tagged row belongs to the row with the same row_id, unless both image_ids are known and differ; otherwise to the
    row with the same image_id.

    Args:
        rows: of an index, with row_id and image_id.
        run: URI of a finished run of `tag`. Its tags, scores and kept columns are joined; a column whose name is taken
            gets the prefix `tag_`.

    Raises:
        RequestError: `run` is no finished run of `tag`.
    """
    require_directory(f"--tags {run}", run, "a finished run of tag")
    layout = RunDirectory(run)
    record = RunRecord.read(layout.record)
    if record is None or record.job != "tag" or manifest.read(layout.manifest) is None:
        other = "nothing of the kind" if record is None else f"a run of {record.job}"
        found = "one that has not finished" if record is not None and record.job == "tag" else other
        raise RequestError(f"--tags {run}: expected a finished run of tag, found {found}")
    parts = [read_columns(entry.uri) for entry in layout.part_files()]
    if not parts:
        raise RequestError(f"--tags {run}: the run has no rows")
    tags = pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
    numbers = _matching_rows(rows, tags)
    taken = tags.select([name for name in tags.column_names if name not in _OWN]).take(numbers)
    names = [PREFIX + name if name in rows.column_names else name for name in taken.column_names]
    return JoinedTags(taken.rename_columns(names), len(numbers) - numbers.null_count)


def _matching_rows(rows: pa.Table, tags: pa.Table) -> pa.Array:
    """int64: the row number of the tags of each row, null for none."""
    by_id = pc.index_in(rows["row_id"], value_set=tags["row_id"].combine_chunks())
    theirs = tags["image_id"].take(by_id)
    differs = pc.fill_null(pc.not_equal(rows["image_id"], theirs), False)
    by_id = pc.if_else(differs, pa.scalar(None, pa.int32()), by_id)
    by_image = pc.index_in(rows["image_id"], value_set=tags["image_id"].combine_chunks(), skip_nulls=True)
    numbers = pc.coalesce(by_id, by_image)
    return numbers.combine_chunks() if isinstance(numbers, pa.ChunkedArray) else numbers
