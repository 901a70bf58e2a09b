"""Updates of an index without Ray and without a model: the job's own steps, with vectors that follow from the bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tests.helpers.indexes import FAKE_MODEL, unit
from vqa_ray import schema
from vqa_ray.index import input_files as sources
from vqa_ray.index import version as versions
from vqa_ray.index.garbage import expose
from vqa_ray.index.input_snapshot import write_input_snapshot
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.update import IndexSchema, VersionDelta, apply, read_sources
from vqa_ray.index.version import Update, Version
from vqa_ray.readers import InputConfig, Source, open_source
from vqa_ray.stages.read import read_tasks
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.uri import join

DIMENSION = 8
KIND = IndexSchema(FAKE_MODEL, 1, DIMENSION, {})
DATE = "2026-01-01T00:00:00Z"
# Bytes that no vector comes of.
BROKEN = b"broken"


def vector_of(image: bytes) -> npt.NDArray[np.float32]:
    """float32 (DIMENSION,), of length 1: another one for other bytes."""
    seed = int.from_bytes(hashlib.sha256(image).digest()[:8], "little")
    return unit(np.random.default_rng(seed).normal(size=DIMENSION))


def opened(directory: Path) -> Source:
    """A directory of images or tables as an input."""
    return open_source(InputConfig(str(directory), needs_question=False))


def update(layout: IndexDirectory, source: Source, *, rows_per_file: int = 3) -> Version:
    """Bring an index up to date with an input and publish it; the version as it is where nothing has changed."""
    base = versions.latest(layout)
    known = read_sources(layout, base)
    changes = sources.difference(known, source)
    if base is not None and not changes:
        return base
    name = f"{base.number + 1 if base else 1:06}-test0000"
    chosen = sources.restrict(source, changes.to_read)
    planned = sources.planned_files(chosen, name)
    leaving = {*changes.gone, *planned["uri"].to_pylist()}
    write_input_snapshot(layout.origin(name), chosen)
    change = VersionDelta(
        update=Update(name, DATE, source.config.uri, len(changes.added), len(changes.changed), len(changes.gone)),
        drop=sources.keys_by_update(known, leaving),
        parts=embed(layout, chosen, name, rows_per_file),
        read_as=name,
        sources=pa.concat_tables([sources.without_files(known, leaving), planned]),
    )
    version = apply(layout, base, KIND, change, DATE)
    assert versions.publish(layout, version)
    expose(layout, version)
    return version


def embed(layout: IndexDirectory, source: Source, name: str, rows_per_file: int) -> list[str]:
    """Write the rows of a source as part files of an update; their URIs."""
    form = schema.with_kept(schema.embedding_schema(1, DIMENSION), source.passthrough)
    read = [row for task in read_tasks(source) for table in task() for row in table.to_pylist()]
    rows = [_embedded(row) for row in read]
    uris = []
    for number, start in enumerate(range(0, max(1, len(rows)), rows_per_file)):
        uris.append(join(layout.update(name).output, f"part-{number:03}.pq"))
        write_table_atomic(uris[-1], pa.Table.from_pylist(rows[start : start + rows_per_file], form))
    return uris


def _embedded(row: dict[str, object]) -> dict[str, object]:
    data = row["image"] or read_bytes(str(row["image_uri"]))
    assert isinstance(data, bytes)
    common = {**row, "sha256": hashlib.sha256(data).hexdigest(), "attempt": 1}
    if data == BROKEN:
        return {**common, "status": schema.STATUS_ERROR, "error_code": "image_undecodable", "error_message": "broken"}
    return {**common, "embedding": vector_of(data).tolist(), "height": 1, "width": 1}
