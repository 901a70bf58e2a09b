"""Approximate search: a Lance dataset with an IVF_PQ index, derived from the Parquet files of an index.

It holds a copy of the vectors, each with the update and the source_key of its row, which identify the row permanently.
It can be rebuilt at any time.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from vqa_ray.errors import RequestError, RunError
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.vectors import as_matrix, prefetched
from vqa_ray.index.version import AnnState, IndexFile, Version
from vqa_ray.runs.part_files import open_rows, read_columns
from vqa_ray.schema import ok_rows
from vqa_ray.storage.lake_storage import location, storage_options

# Fewer vectors are searched exactly within moments; the threshold of `--ann auto`.
FROM_VECTORS = 50_000
# Vectors per centroid for training: four times as many take three times as long and half as much memory again, with
# the same recall.
_PER_CENTROID = 64
# PQ has 256 codes to learn.
_LEAST_ROWS = 1_024
# Numbers of a vector for each one-byte code.
_NUMBERS_PER_CODE = 8
_BATCH_ROWS = 4_096
_KEYS_PER_DELETE = 20_000
# Beyond this growth or loss a dataset is rebuilt.
_MOST_GROWTH, _LEAST_LEFT = 1.25, 0.8
# Each addition is a small index beside the first; this many are merged.
_ADDITIONS_TO_MERGE = 8
_VECTOR, _INDEX = "vector", "vector_idx"
# Lance's own errors have these kinds.
ERRORS = (OSError, ValueError, RuntimeError)

AnnChoice: TypeAlias = Literal["auto", "always", "never"]
Keys = dict[str, npt.NDArray[np.int64]]


def check_possible(model: str, vectors: int) -> None:
    """Refuse `--ann always` where it is not possible.

    Raises:
        RequestError: Lance is not installed, or an image has several vectors.
    """
    if vectors > 1:
        raise RequestError(f"--ann always: {model} gives {vectors} vectors per image; these are searched exactly")
    if not is_installed():
        raise RequestError("--ann always: needs Lance, which is not installed: pip install 'vqa-ray[index]'")


def is_wanted(choice: AnnChoice, version: Version, *, has_one: bool) -> bool:
    """Say whether a version gets an approximate index.

    Args:
        choice: of the user; `auto` builds one from FROM_VECTORS vectors, and keeps the one that is there.
        version: the version.
        has_one: whether the version before has one.
    """
    if choice == "never" or version.vectors > 1:
        return False
    return choice == "always" or has_one or version.ok >= FROM_VECTORS


def is_installed() -> bool:
    """Whether Lance is installed."""
    return importlib.util.find_spec("lance") is not None


def build(layout: IndexDirectory, version: Version, path: str) -> AnnState:
    """Build the dataset and its index from the files of a version, a few thousand rows at a time.

    Args:
        layout: of the index.
        version: to build from.
        path: of the new dataset, relative to the index.
    """
    lance = _lance()
    uri = location(layout.path(path))
    batches = (batch for file in version.files for batch in _batches(layout, file, version.dimension))
    reader = pa.RecordBatchReader.from_batches(_schema(version.dimension), batches)
    dataset = lance.write_dataset(reader, uri, mode="create", storage_options=storage_options(uri))
    partitions, sub_vectors = shape_for(version.ok, version.dimension)
    if partitions:
        dataset = dataset.create_index(
            _VECTOR,
            "IVF_PQ",
            name=_INDEX,
            metric="cosine",
            num_partitions=partitions,
            num_sub_vectors=sub_vectors,
            sample_rate=_PER_CENTROID,
        )
    return AnnState(path, dataset.version, version.ok, version.ok, partitions, sub_vectors)


def extend(layout: IndexDirectory, old: Version, new: Version) -> AnnState | None:
    """Update the dataset from one version to another: rows deleted, rows added, the index extended.

    Changes of an interrupted update are undone first.

    Args:
        layout: of the index.
        old: a version with an approximate index.
        new: any later one.

    Returns:
        None where a rebuild is better: the index changed much, or the dataset does not match `old`.
    """
    lance = _lance()
    state = old.ann
    assert state is not None
    files, before = {file.path for file in new.files}, {file.path for file in old.files}
    gone = _keys(layout, [file for file in old.files if file.path not in files])
    fresh = _keys(layout, [file for file in new.files if file.path not in before])
    removed = {update: np.setdiff1d(keys, fresh.get(update, _NO_KEYS)) for update, keys in gone.items()}
    added = {update: np.setdiff1d(keys, gone.get(update, _NO_KEYS)) for update, keys in fresh.items()}
    growth = sum(map(len, added.values()))
    left = state.rows - sum(map(len, removed.values()))
    small = not state.partitions and shape_for(new.ok, new.dimension)[0]
    grown = new.ok > _MOST_GROWTH * state.trained_rows
    if small or grown or left < _LEAST_LEFT * state.trained_rows or left + growth != new.ok:
        return None
    uri = location(layout.path(state.path))
    dataset = lance.dataset(uri, version=state.version, storage_options=storage_options(uri))
    if dataset.count_rows() != state.rows:
        return None
    if dataset.latest_version != state.version:
        dataset.restore()
        dataset = lance.dataset(uri, storage_options=storage_options(uri))
    for update, keys in removed.items():
        for start in range(0, len(keys), _KEYS_PER_DELETE):
            listed = ", ".join(map(str, keys[start : start + _KEYS_PER_DELETE].tolist()))
            dataset.delete(f"update = '{update}' AND source_key IN ({listed})")
    if growth:
        batches = (
            batch
            for file in new.files
            if file.path not in before
            for batch in _batches(layout, file, new.dimension, added[file.update])
        )
        reader = pa.RecordBatchReader.from_batches(_schema(new.dimension), batches)
        dataset = lance.write_dataset(reader, dataset, mode="append", storage_options=storage_options(uri))
        if state.partitions:
            merged = (state.additions + 1) % _ADDITIONS_TO_MERGE == 0
            dataset.optimize.optimize_indices(num_indices_to_merge=_ADDITIONS_TO_MERGE + 1 if merged else 0)
            if merged:
                dataset.optimize.compact_files()
    additions = state.additions + bool(growth)
    latest = lance.dataset(uri, storage_options=storage_options(uri))
    # A few rows change its recall by less than the sampling error of its measurement.
    return replace(state, version=latest.version, rows=new.ok, additions=additions)


def shape_for(rows: int, dimension: int) -> tuple[int, int]:
    """(partitions, sub-vectors) of an index: √rows partitions, one code for every 8 numbers of a vector.

    0 partitions for too few rows to train codes.
    """
    partitions = round(rows**0.5) if rows >= _LEAST_ROWS else 0
    wanted = max(1, dimension // _NUMBERS_PER_CODE)
    return partitions, next(parts for parts in range(wanted, dimension + 1) if dimension % parts == 0)


def clean_up(layout: IndexDirectory, kept: Sequence[AnnState]) -> None:
    """Delete data that only older versions of these datasets need."""
    import datetime

    lance = _lance()
    for path in {state.path for state in kept}:
        uri = location(layout.path(path))
        dataset = lance.dataset(uri, storage_options=storage_options(uri))
        wanted = {f"v{state.version}": state.version for state in kept if state.path == path}
        tags = dataset.tags.list()
        for tag, number in wanted.items():
            if tag not in tags:
                dataset.tags.create(tag, number)
        for tag in tags:
            if tag not in wanted:
                dataset.tags.delete(tag)
        dataset.cleanup_old_versions(datetime.timedelta(0), error_if_tagged_old_versions=False)


def open_dataset(layout: IndexDirectory, state: AnnState) -> Any:
    """Open the Lance dataset at the state of a version.

    Raises:
        RunError: it does not match the version.
        OSError, ValueError, RuntimeError: raised by Lance if it cannot be opened.
    """
    lance = _lance()
    uri = location(layout.path(state.path))
    dataset = lance.dataset(uri, version=state.version, storage_options=storage_options(uri))
    if dataset.count_rows() != state.rows:
        raise RunError(f"{uri}: {dataset.count_rows()} rows, the index expects {state.rows}")
    return dataset


def _lance() -> Any:
    # Its notes (a partition without vectors) are of no use to users.
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    return lance


def _schema(dimension: int) -> pa.Schema:
    fields = [("update", pa.string()), ("source_key", pa.int64()), (_VECTOR, pa.list_(pa.float32(), dimension))]
    return pa.schema(fields)


def _batches(
    layout: IndexDirectory, file: IndexFile, dimension: int, keys: npt.NDArray[np.int64] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that have a vector, optionally only those with some keys."""
    form = _schema(dimension)
    with open_rows(layout.path(file.path)) as opened:
        reader = parquet.ParquetFile(opened, pre_buffer=False, buffer_size=2**20)
        for batch in reader.iter_batches(_BATCH_ROWS, columns=["embedding", "status", "source_key"], use_threads=False):
            table = pa.Table.from_batches([batch])
            rows = ok_rows(table)
            if keys is not None:
                rows = rows[np.isin(table["source_key"].to_numpy()[rows], keys)]
            taken = table.take(pa.array(rows))
            flat = pa.array(as_matrix(taken["embedding"], dimension).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, dimension)
            names = pa.array([file.update] * len(rows), pa.string())
            yield pa.record_batch([names, taken["source_key"].combine_chunks(), vectors], schema=form)


_NO_KEYS: npt.NDArray[np.int64] = np.empty(0, np.int64)


def _keys(layout: IndexDirectory, files: Sequence[IndexFile]) -> Keys:
    """Return the keys of the rows with a vector, by update."""
    found: dict[str, list[npt.NDArray[np.int64]]] = {}
    tables = prefetched(lambda file: read_columns(layout.path(file.path), ("source_key", "status")), files)
    for file, table in zip(files, tables, strict=True):
        found.setdefault(file.update, []).append(table["source_key"].to_numpy()[ok_rows(table)])
    return {update: np.concatenate(keys) for update, keys in found.items()}


__all__ = ["ERRORS", "FROM_VECTORS", "build", "check_possible", "clean_up", "extend", "is_installed", "open_dataset"]
