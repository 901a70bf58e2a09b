"""An index of drawn vectors, written block by block: as large as is asked for, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.version import IndexFile, Update, Version, publish
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.filesystem import filesystem_for

FILE_ROWS = 10_000
_UPDATE, _DATE = "000001-drawn", "2026-01-01T00:00:00Z"
_CENTRE_SEED, _SPREAD = 1, 0.7


def clustered(rows: int, dimension: int, clusters: int, seed: int) -> npt.NDArray[np.float32]:
    """Draw vectors of length 1 around common centres; two of one cluster have a cosine of about 0.67.

    Args:
        rows: number of vectors.
        dimension: of each vector.
        clusters: how many centres; the same for every seed.
        seed: of the vectors.

    Returns:
        float32 (rows, dimension).
    """
    centres = np.random.default_rng(_CENTRE_SEED).normal(size=(clusters, dimension)).astype(np.float32)
    drawn = np.random.default_rng([seed, rows])
    noise = drawn.normal(size=(rows, dimension)).astype(np.float32)
    vectors = centres[drawn.integers(clusters, size=rows)] + np.float32(_SPREAD) * noise
    unit: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def blocks(rows: int, dimension: int, clusters: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the vectors of the index, a file's worth at a time."""
    for seed, start in enumerate(range(0, rows, FILE_ROWS)):
        yield clustered(min(FILE_ROWS, rows - start), dimension, clusters, 1_000 + seed)


def write(uri: str, rows: int, dimension: int, clusters: int) -> Version:
    """Write the index; row i has the row_id i."""
    layout = IndexDirectory(uri)
    files = []
    start = 0
    for number, vectors in enumerate(blocks(rows, dimension, clusters)):
        path = f"updates/{_UPDATE}/part-{number:06}.parquet"
        # As vectors do not shrink, compressing them would only cost time.
        write_table_atomic(layout.path(path), _table(vectors, start), compression={"image_id": "zstd"})
        filesystem, inside = filesystem_for(layout.path(path))
        size_bytes = filesystem.get_file_info(inside).size
        files.append(IndexFile(path, _UPDATE, len(vectors), len(vectors), size_bytes))
        start += len(vectors)
    model = {"reference": "drawn", "family": "drawn", "fingerprint": "drawn", "score_meaning": "cosine"}
    version = Version(
        number=1,
        created=_DATE,
        model=model,
        vectors=1,
        dimension=dimension,
        command={},
        files=tuple(files),
        updates=(Update(_UPDATE, _DATE, "drawn", 1, 0, 0),),
        sources=None,
        rows=rows,
        ok=rows,
    )
    publish(layout, version)
    return version


def _table(vectors: npt.NDArray[np.float32], start: int) -> pa.Table:
    form = schema.embedding_schema(1, vectors.shape[1])
    ids = np.arange(start, start + len(vectors))
    known = {
        "row_id": pa.array(ids),
        "image_id": pa.array(ids).cast(pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
        "sha256": pa.array([f"{number:064x}" for number in ids.tolist()]),
        "status": pa.array([schema.STATUS_OK] * len(ids)),
        "attempt": pa.array(np.ones(len(ids), np.int32)),
        "source_key": pa.array(ids),
    }
    return pa.table([known.get(part.name, pa.nulls(len(ids), part.type)) for part in form], schema=form)
