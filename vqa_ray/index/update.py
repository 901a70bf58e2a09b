"""From one version of an index to the next: rows removed, rows added, nothing moved.

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
from vqa_ray.runs.private_names import private, public
from vqa_ray.schema import ok_rows
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.filesystem import filesystem_for
from vqa_ray.storage.uri import name_of

# How far the length of a vector may be from 1: vectors are made in float32.
_LENGTH_TOLERANCE = 1e-3
_PREFIX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class IndexSchema:
    """What all versions of an index share; see `Version`."""

    model: Mapping[str, Any]
    vectors: int
    dimension: int
    command: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VersionDelta:
    """What an update does to an index.

    Attributes:
        update: its entry in the version.
        drop: update → keys of rows that leave, int64 (R, 2) ranges, ascending.
        parts: URIs of the files it wrote.
        read_as: the update whose keys the rows of `parts` have.
        only: the keys of `parts` that count; None for all.
        sources: SOURCES of the index after it.
    """

    update: Update
    drop: Mapping[str, Ranges]
    parts: Sequence[str]
    read_as: str
    sources: pa.Table
    only: Ranges | None = None


def apply(
    layout: IndexDirectory, base: Version | None, kind: IndexSchema, change: VersionDelta, created: str
) -> Version:
    """Write what the next version needs beside what is there; it has no approximate index yet and is not published.

    Doing it again writes the same.

    Args:
        layout: of the index.
        base: the version to go on from; None for a new index.
        kind: of the index.
        change: what to do.
        created: UTC, ISO 8601.

    Raises:
        RunError: a row has a vector that is not finite or not of length 1.
    """
    name = change.update.name
    old = base.files if base else ()
    files = [_remaining_rows(layout, file, change.drop.get(file.update), name, i) for i, file in enumerate(old)]
    files += [_added_file(layout, kind, change, uri, i) for i, uri in enumerate(change.parts)]
    kept = [file for file in files if file is not None and file.rows]
    if not kept:
        template = change.parts[0] if change.parts else layout.path(old[0].path)
        kept = [_write_rows(layout, name, "empty", read_columns(template).slice(0, 0), name)]
    write_table_atomic(layout.sources(name), change.sources)
    used = {file.update for file in kept} | {file.path.split("/")[1] for file in kept}
    before = base.updates if base else ()
    return Version(
        number=base.number + 1 if base else 1,
        created=created,
        model=kind.model,
        vectors=kind.vectors,
        dimension=kind.dimension,
        command=kind.command,
        files=tuple(kept),
        updates=(*(update for update in before if update.name in used), change.update),
        sources=layout.sources(name).removeprefix(layout.uri.rstrip("/") + "/"),
        rows=sum(file.rows for file in kept),
        ok=sum(file.ok for file in kept),
    )


def read_sources(layout: IndexDirectory, version: Version | None) -> pa.Table:
    """SOURCES of a version."""
    if version is None or version.sources is None:
        return sources.NONE
    return read_columns(layout.path(version.sources)).cast(sources.SOURCES)


def conflicting_ids(layout: IndexDirectory, files: Sequence[IndexFile]) -> int:
    """How many row_ids stand for different images (sha256); 16 bytes a row are held."""
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
        RunError: there is one.
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
    """What is left of a file; itself where nothing leaves, None where nothing stays."""
    if drop is None or not len(drop):
        return file
    uri = layout.path(file.path)
    stays = ~within(read_columns(uri, ("source_key",))["source_key"].to_numpy(), drop)
    if stays.all():
        return file
    if not stays.any():
        return None
    return _write_rows(layout, name, f"{number:06}", read_columns(uri).filter(pa.array(stays)), file.update)


def _added_file(layout: IndexDirectory, kind: IndexSchema, change: VersionDelta, uri: str, number: int) -> IndexFile:
    table = read_columns(uri, None if change.only is not None else ("embedding", "status"))
    ok = ok_rows(table)
    embeddings = table["embedding"].take(pa.array(ok))
    if embeddings.null_count:
        raise RunError(f"{uri}: {embeddings.null_count} rows are ok but have no vector")
    check_vectors(as_matrix(embeddings, kind.vectors * kind.dimension), kind.dimension, uri)
    if change.only is not None:
        stays = within(table["source_key"].to_numpy(), change.only)
        if not stays.all():
            return _write_rows(
                layout, change.update.name, f"part-{number:06}", table.filter(pa.array(stays)), change.read_as
            )
    filesystem, path = filesystem_for(uri)
    size_bytes = filesystem.get_file_info(path).size
    return IndexFile(
        f"{UPDATES}/{change.update.name}/{public(name_of(uri))}", change.read_as, table.num_rows, len(ok), size_bytes
    )


def _write_rows(layout: IndexDirectory, name: str, suffix: str, table: pa.Table, update: str) -> IndexFile:
    path = f"{UPDATES}/{name}/{REWRITTEN_PREFIX}{suffix}.parquet"
    uri = private(layout.path(path))
    write_table_atomic(uri, table)
    filesystem, inside = filesystem_for(uri)
    return IndexFile(path, update, table.num_rows, len(ok_rows(table)), filesystem.get_file_info(inside).size)
