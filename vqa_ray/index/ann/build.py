"""Approximate search: a Lance dataset with an IVF_PQ index, derived from the Parquet files of an index.

It holds the vectors once more, each with the update and the source_key of its row, which name a row for good. Whatever
becomes of it, it can be made again.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

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
from vqa_ray.storage.filesystem import filesystem_for, s3_endpoint
from vqa_ray.storage.uri import scheme_of

# Fewer vectors are searched exactly in a moment; it is also what `--ann auto` goes by.
FROM_VECTORS = 50_000
# Centroids are learnt from so many vectors each: with four times as many, building takes three times as long and half
# as much memory again, and finds no more.
_PER_CENTROID = 64
# PQ has 256 codes to learn.
_LEAST_ROWS = 1_024
# Codes of one byte for so many numbers of a vector.
_NUMBERS_PER_CODE = 8
_BATCH_ROWS = 4_096
_KEYS_PER_DELETE = 20_000
# A dataset that was added to by so much, or lost so much, is built anew.
_MOST_GROWTH, _LEAST_LEFT = 1.25, 0.8
# Each addition is a small index of its own beside the first; so many are made one again.
_ADDITIONS_TO_MERGE = 8
_VECTOR, _INDEX = "vector", "vector_idx"
# Lance's own errors have these kinds.
ERRORS = (OSError, ValueError, RuntimeError)

Keys = dict[str, npt.NDArray[np.int64]]


def check_possible(model: str, vectors: int) -> None:
    """Refuse `--ann always` where it cannot be.

    Args:
        model: the encoder's reference.
        vectors: that it makes of an image.

    Raises:
        RequestError: Lance is not installed, or an image has several vectors.
    """
    if vectors > 1:
        raise RequestError(f"--ann always: {model} gives {vectors} vectors per image; these are searched exactly")
    if not is_installed():
        raise RequestError("--ann always: needs Lance, which is not installed: pip install 'vqa-ray[index]'")


def is_installed() -> bool:
    """Whether Lance is there."""
    return importlib.util.find_spec("lance") is not None


def build(layout: IndexDirectory, version: Version, path: str) -> AnnState:
    """Make the dataset and its index of a version's files, which are read once, a few thousand rows at a time.

    Args:
        layout: of the index.
        version: whose files.
        path: of the dataset, relative to the index; nothing is there yet.
    """
    lance = _lance()
    uri = _uri(layout, path)
    batches = (batch for file in version.files for batch in _batches(layout, file, version.dimension))
    reader = pa.RecordBatchReader.from_batches(_schema(version.dimension), batches)
    dataset = lance.write_dataset(reader, uri, mode="create", storage_options=_options(uri))
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
    """Bring the dataset of one version to the state of another: rows deleted, rows added, the index told.

    What a process that died has left behind in the dataset is undone first.

    Args:
        layout: of the index.
        old: a version with an approximate index.
        new: any later one.

    Returns:
        None where building anew is better: it has changed by much, or the dataset is not what `old` says.
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
    uri = _uri(layout, state.path)
    dataset = lance.dataset(uri, version=state.version, storage_options=_options(uri))
    if dataset.count_rows() != state.rows:
        return None
    if dataset.latest_version != state.version:
        dataset.restore()
        dataset = lance.dataset(uri, storage_options=_options(uri))
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
        dataset = lance.write_dataset(reader, dataset, mode="append", storage_options=_options(uri))
        if state.partitions:
            merged = (state.additions + 1) % _ADDITIONS_TO_MERGE == 0
            dataset.optimize.optimize_indices(num_indices_to_merge=_ADDITIONS_TO_MERGE + 1 if merged else 0)
            if merged:
                dataset.optimize.compact_files()
    additions = state.additions + bool(growth)
    latest = lance.dataset(uri, storage_options=_options(uri))
    # What few rows more or less do to its recall is less than what the sample of queries does.
    return replace(state, version=latest.version, rows=new.ok, additions=additions)


def shape_for(rows: int, dimension: int) -> tuple[int, int]:
    """(partitions, sub-vectors) of an index: √rows partitions, a code for every 8 numbers of a vector.

    No partitions where there are too few rows to learn codes from.
    """
    partitions = round(rows**0.5) if rows >= _LEAST_ROWS else 0
    wanted = max(1, dimension // _NUMBERS_PER_CODE)
    return partitions, next(parts for parts in range(wanted, dimension + 1) if dimension % parts == 0)


def clean_up(layout: IndexDirectory, kept: Sequence[AnnState]) -> None:
    """Delete what only older versions of these datasets need."""
    import datetime

    lance = _lance()
    for path in {state.path for state in kept}:
        uri = _uri(layout, path)
        dataset = lance.dataset(uri, storage_options=_options(uri))
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
    """The Lance dataset as it belongs to a version.

    Raises:
        RunError: it is not what the version says.
        OSError, ValueError, RuntimeError: Lance's, where it cannot be opened.
    """
    lance = _lance()
    uri = _uri(layout, state.path)
    dataset = lance.dataset(uri, version=state.version, storage_options=_options(uri))
    if dataset.count_rows() != state.rows:
        raise RunError(f"{uri}: {dataset.count_rows()} rows, the index wants {state.rows}")
    return dataset


def _lance() -> Any:
    # Its notes (a partition without vectors) are nothing that a user could act on.
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    return lance


def _schema(dimension: int) -> pa.Schema:
    fields = [("update", pa.string()), ("source_key", pa.int64()), (_VECTOR, pa.list_(pa.float32(), dimension))]
    return pa.schema(fields)


def _batches(
    layout: IndexDirectory, file: IndexFile, dimension: int, keys: npt.NDArray[np.int64] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file that have a vector; of them only those with these keys."""
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
    """Update → the keys of the rows of these files that have a vector."""
    found: dict[str, list[npt.NDArray[np.int64]]] = {}
    tables = prefetched(lambda file: read_columns(layout.path(file.path), ("source_key", "status")), files)
    for file, table in zip(files, tables, strict=True):
        found.setdefault(file.update, []).append(table["source_key"].to_numpy()[ok_rows(table)])
    return {update: np.concatenate(keys) for update, keys in found.items()}


def _uri(layout: IndexDirectory, path: str) -> str:
    """As Lance wants it: a local path, or a URI."""
    uri = layout.path(path)
    if scheme_of(uri) == "file":
        return filesystem_for(uri)[1]
    return uri.replace("s3a://", "s3://", 1)


def _options(uri: str) -> dict[str, str] | None:
    """What Lance does not find out by itself; credentials it takes from where everyone does."""
    if scheme_of(uri) != "s3":
        return None
    endpoint = s3_endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options = {"aws_endpoint": endpoint, "aws_region": region, "allow_http": "true" if endpoint else None}
    return {name: value for name, value in options.items() if value}


__all__ = ["ERRORS", "FROM_VECTORS", "build", "check_possible", "clean_up", "extend", "is_installed", "open_dataset"]
