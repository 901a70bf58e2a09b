"""Indexes for tests, written straight from arrays: no Ray, no images, no model."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from vqa_ray import schema
from vqa_ray.index.ann.nearest import AnnIndex, open_ann
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import Index, open_index
from vqa_ray.index.version import IndexFile, Update, Version, publish
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.filesystem import filesystem_for

FAKE_MODEL = {"reference": "fake:", "family": "fake", "fingerprint": "fake", "score_meaning": "cosine"}
ERROR = "image_undecodable"


def unit(vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Rows of length 1."""
    matrix = np.asarray(vectors, np.float32)
    scaled: npt.NDArray[np.float32] = (matrix / np.linalg.norm(matrix, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


def random_vectors(count: int, dimension: int, vectors: int = 1, seed: int = 0) -> npt.NDArray[np.float32]:
    """float32 (count, vectors * dimension), each vector of length 1."""
    drawn = np.random.default_rng(seed).normal(size=(count, vectors, dimension))
    return unit(drawn).reshape(count, vectors * dimension)


def thumbnail(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A JPEG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def write_index(
    uri: Path | str,
    embeddings: npt.NDArray[np.float32],
    *,
    vectors: int = 1,
    files: int = 2,
    failed: Sequence[int] = (),
    columns: Mapping[str, Sequence[object] | pa.Array] | None = None,
    model: Mapping[str, str] = FAKE_MODEL,
) -> Index:
    """Write an index of these vectors and open it.

    Args:
        uri: a new directory, or a prefix.
        embeddings: float32 (N, vectors * dimension), normalised; row i is image `images/i.jpg`.
        vectors: of an image.
        files: how many files hold the rows.
        failed: rows that are error rows instead.
        columns: replace our own of that name (image_uri, sha256, thumbnail, …) or follow them as kept columns.
        model: what the version says.
    """
    count = len(embeddings)
    dimension = embeddings.shape[1] // vectors
    table = _table(embeddings, schema.embedding_schema(vectors, dimension), set(failed))
    for name, values in (columns or {}).items():
        place = table.schema.get_field_index(name)
        array = pa.array(values, None if place < 0 else table.schema.field(place).type)
        if place < 0:
            table = table.append_column(name, array)
        else:
            table = table.set_column(place, table.schema.field(place), array)
    layout, name = IndexDirectory(str(uri)), "000001-arrays00"
    written = []
    bounds = np.linspace(0, count, (files if count else 1) + 1).astype(int).tolist()
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        path = f"updates/{name}/part-{number:06}.parquet"
        write_table_atomic(layout.path(path), table.slice(start, stop - start))
        filesystem, inside = filesystem_for(layout.path(path))
        ok = sum(row not in failed for row in range(start, stop))
        written.append(IndexFile(path, name, stop - start, ok, filesystem.get_file_info(inside).size))
    version = Version(
        number=1,
        created="2026-01-01T00:00:00Z",
        model=dict(model),
        vectors=vectors,
        dimension=dimension,
        command={},
        files=tuple(written),
        updates=(Update(name, "2026-01-01T00:00:00Z", "arrays", 1, 0, 0),),
        sources=None,
        rows=count,
        ok=count - len(set(failed)),
    )
    assert publish(layout, version)
    return open_index(str(uri))


def ann_of(index: Index) -> AnnIndex | None:
    """The approximate index of an index, opened."""
    return open_ann(index.layout, index.version)


def _table(embeddings: npt.NDArray[np.float32], form: pa.Schema, failed: set[int]) -> pa.Table:
    count = len(embeddings)
    ok = [row not in failed for row in range(count)]
    mask = pa.array([not each for each in ok], pa.bool_())
    flat = pa.array(embeddings.reshape(-1))
    columns: dict[str, object] = {
        "row_id": list(range(count)),
        "image_id": [f"images/{row}.jpg" for row in range(count)],
        "image_uri": [f"/nowhere/images/{row}.jpg" for row in range(count)],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1], mask=mask),
        "height": [12 if each else None for each in ok],
        "width": [16 if each else None for each in ok],
        "sha256": [f"{row:064x}" if each else None for row, each in enumerate(ok)],
        "thumbnail": [thumbnail() if each else None for each in ok],
        "status": [schema.STATUS_OK if each else schema.STATUS_ERROR for each in ok],
        "error_code": [None if each else ERROR for each in ok],
        "error_message": [None if each else f"images/{row}.jpg: not an image" for row, each in enumerate(ok)],
        "warning": [None] * count,
        "attempt": [1] * count,
        "source_key": list(range(count)),
    }
    return pa.table([pa.array(columns[part.name], part.type) for part in form], schema=form)
