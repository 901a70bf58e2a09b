"""The tags of a `tag` run beside the rows of an index: which tagged row belongs to which image."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord

# What a tag is called where the index has a column of the name already.
PREFIX = "tag_"
_OWN = frozenset(field.name for field in schema.tag_schema(())) - {"tags"}


@dataclass(frozen=True, slots=True)
class JoinedTags:
    """The columns of a tag run for the rows of an index.

    Attributes:
        columns: as many rows as the index, in its order; null where an image was not tagged.
        found: how many rows of the index were tagged.
    """

    columns: pa.Table
    found: int


def join_tags(rows: pa.Table, run: str) -> JoinedTags:
    """The tags of the rows of an index.

    A tagged row belongs to the row of the same row_id, unless their image_ids are known and differ; failing that, to
    the row of the same image_id.

    Args:
        rows: of an index: row_id, image_id and whatever else; nothing of it comes back.
        run: URI of a finished run of `tag`. Its tags, scores and kept columns are taken; one whose name the index has
            already is called `tag_` and that name.

    Raises:
        RequestError: it is no finished run of `tag`.
    """
    layout = RunDirectory(run)
    record = RunRecord.read(layout.record)
    if record is None or record.job != "tag" or manifest.read(layout.manifest) is None:
        kind = "nothing of the kind" if record is None else f"a run of {record.job}"
        found = "one that has not finished" if record is not None and record.job == "tag" else kind
        raise RequestError(f"--tags {run}: wanted a finished run of tag, found {found}")
    parts = [read_columns(entry.uri) for entry in layout.part_files()]
    if not parts:
        raise RequestError(f"--tags {run}: the run has no rows")
    tags = pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
    places = _places(rows, tags)
    taken = tags.select([name for name in tags.column_names if name not in _OWN]).take(places)
    names = [PREFIX + name if name in rows.column_names else name for name in taken.column_names]
    return JoinedTags(taken.rename_columns(names), len(places) - places.null_count)


def _places(rows: pa.Table, tags: pa.Table) -> pa.Array:
    """int64: for each row the place of its tags, null for none."""
    by_id = pc.index_in(rows["row_id"], value_set=tags["row_id"].combine_chunks())
    theirs = tags["image_id"].take(by_id)
    differs = pc.fill_null(pc.not_equal(rows["image_id"], theirs), False)
    by_id = pc.if_else(differs, pa.scalar(None, pa.int32()), by_id)
    by_image = pc.index_in(rows["image_id"], value_set=tags["image_id"].combine_chunks(), skip_nulls=True)
    places = pc.coalesce(by_id, by_image)
    return places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places
