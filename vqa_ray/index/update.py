"""The next version of an index: rows removed, rows added, no row moved.

Files are never changed. Where rows leave a file, the rest of its rows is written into the directory of the update.
Files have their private names (`.pq`) until the version that they belong to is published; see `garbage.expose`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.errors import RunError
from vqa_ray.index import input_files as sources
from vqa_ray.index.paths import REWRITTEN_PREFIX, UPDATES, IndexDirectory
from vqa_ray.index.vectors import as_matrix, prefetched
from vqa_ray.index.version import IndexFile, Update, Version
from vqa_ray.keys import Ranges, within
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.private_names import public, superseded
from vqa_ray.schema import ok_rows
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.filesystem import filesystem_for
from vqa_ray.storage.uri import name_of

# Tolerance of the length of a float32 vector.
_LENGTH_TOLERANCE = 1e-3
_PREFIX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class IndexSchema:
    """What all versions of an index have in common; see `Version`."""

    model: Mapping[str, Any]
    vectors: int
    dimension: int
    command: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VersionDelta:
    """The changes that an update makes to an index.

    Attributes:
        update: its entry in the version.
        drop: update → keys of rows to remove, int64 (R, 2) ranges, ascending.
        parts: URIs of the files to add.
        read_as: the update that read the rows of `parts`.
        sources: SOURCES of the index after the update.
        only: the keys of the rows of `parts` to add; None for all.
    """

    update: Update
    drop: Mapping[str, Ranges]
    parts: Sequence[str]
    read_as: str
    sources: pa.Table
    only: Ranges | None = None


def apply(
    layout: IndexDirectory, base: Version | None, index_schema: IndexSchema, delta: VersionDelta, created: str
) -> Version:
    """Write the files of the next version, without approximate index; it is not published yet. Idempotent.

    Args:
        layout: the directory of the index.
        base: the version before; None for a new index.
        index_schema: of the index.
        delta: the changes.
        created: UTC, ISO 8601.

    Raises:
        RunError: a vector is not finite or not of length 1.
    """
    name = delta.update.name
    old = base.files if base else ()
    files = [_remaining_rows(layout, file, delta.drop.get(file.update), name, i) for i, file in enumerate(old)]
    files += [_added_file(layout, index_schema, delta, uri, i) for i, uri in enumerate(delta.parts)]
    kept = [file for file in files if file is not None and file.rows]
    if not kept:
        template = delta.parts[0] if delta.parts else layout.path(old[0].path)
        kept = [_write_rows(layout, name, "empty", read_columns(template).slice(0, 0), name)]
    write_table_atomic(layout.sources(name), delta.sources)
    used = {file.update for file in kept} | {file.path.split("/")[1] for file in kept}
    before = base.updates if base else ()
    return Version(
        number=base.number + 1 if base else 1,
        created=created,
        model=index_schema.model,
        vectors=index_schema.vectors,
        dimension=index_schema.dimension,
        command=index_schema.command,
        files=tuple(kept),
        updates=(*(update for update in before if update.name in used), delta.update),
        sources=layout.sources(name).removeprefix(layout.uri.rstrip("/") + "/"),
        rows=sum(file.rows for file in kept),
        ok=sum(file.ok for file in kept),
    )


def read_sources(layout: IndexDirectory, version: Version | None) -> pa.Table:
    """Read SOURCES of a version."""
    if version is None or version.sources is None:
        return sources.NONE
    return read_columns(layout.path(version.sources)).cast(sources.SOURCES)


def conflicting_ids(layout: IndexDirectory, files: Sequence[IndexFile]) -> int:
    """Count row_ids that stand for different images (sha256); uses 16 bytes a row."""
    ids, images = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for table in prefetched(lambda file: read_columns(layout.path(file.path), ("row_id", "sha256", "status")), files):
        ok = table.take(pa.array(ok_rows(table)))
        ids.append(ok["row_id"].to_numpy())
        images.append(np.array([int(text[:_PREFIX_DIGITS], 16) for text in ok["sha256"].to_pylist()], np.int64))
    every = np.unique(np.stack([np.concatenate(ids), np.concatenate(images)], axis=1), axis=0)[:, 0]
    return len(np.unique(every[1:][every[1:] == every[:-1]]))


def check_vectors(vectors: npt.NDArray[np.float32], dimension: int, where: str) -> None:
    """Refuse vectors that are not finite or not of length 1.

    Args:
        vectors: float32 (N, vectors * dimension).
        dimension: of one vector.
        where: the file, for the message.

    Raises:
        RunError: there is such a vector.
    """
    lengths = np.linalg.norm(vectors.reshape(len(vectors), vectors.shape[1] // dimension, dimension), axis=-1)
    # Written so that NaN, which compares as false, is wrong.
    wrong = np.flatnonzero(~(np.abs(lengths - 1.0) <= _LENGTH_TOLERANCE).all(axis=-1))
    if len(wrong):
        length = lengths[wrong[0]].flat[0] if lengths.shape[1] == 1 else lengths[wrong[0]].tolist()
        raise RunError(f"{where}: {len(wrong)} rows have a vector of a length other than 1, such as {length}")


def _remaining_rows(
    layout: IndexDirectory, file: IndexFile, drop: Ranges | None, name: str, number: int
) -> IndexFile | None:
    """Write the rows of a file that stay; the file itself if all stay, None if none does."""
    if drop is None or not len(drop):
        return file
    uri = layout.path(file.path)
    stays = ~within(read_columns(uri, ("source_key",))["source_key"].to_numpy(), drop)
    if stays.all():
        return file
    if not stays.any():
        return None
    return _write_rows(layout, name, f"{number:06}", read_columns(uri).filter(pa.array(stays)), file.update)


def _added_file(
    layout: IndexDirectory, index_schema: IndexSchema, delta: VersionDelta, uri: str, number: int
) -> IndexFile:
    table = read_columns(uri, None if delta.only is not None else ("embedding", "status"))
    ok = ok_rows(table)
    embeddings = table["embedding"].take(pa.array(ok))
    if embeddings.null_count:
        raise RunError(f"{uri}: {embeddings.null_count} rows are ok but have no vector")
    check_vectors(as_matrix(embeddings, index_schema.vectors * index_schema.dimension), index_schema.dimension, uri)
    if delta.only is not None:
        stays = within(table["source_key"].to_numpy(), delta.only)
        if not stays.all():
            return _write_rows(
                layout, delta.update.name, f"part-{number:06}", table.filter(pa.array(stays)), delta.read_as
            )
    filesystem, path = filesystem_for(uri)
    size_bytes = filesystem.get_file_info(path).size
    return IndexFile(
        f"{UPDATES}/{delta.update.name}/{public(name_of(uri))}", delta.read_as, table.num_rows, len(ok), size_bytes
    )


def _write_rows(layout: IndexDirectory, name: str, suffix: str, table: pa.Table, update: str) -> IndexFile:
    path = f"{UPDATES}/{name}/{REWRITTEN_PREFIX}{suffix}.parquet"
    uri = superseded(layout.path(path))
    write_table_atomic(uri, table)
    filesystem, inside = filesystem_for(uri)
    return IndexFile(path, update, table.num_rows, len(ok_rows(table)), filesystem.get_file_info(inside).size)
