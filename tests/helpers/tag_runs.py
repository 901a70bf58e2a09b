"""Runs of `tag` for tests, written straight from rows: no Ray, no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.uri import join

# A category, several colours, and a kept column.
TAGS = schema.with_kept(schema.tag_schema([("category", False), ("colours", True)]), [pa.field("shop", pa.string())])


def write_tag_run(directory: Path, rows: Sequence[dict[str, Any]], *, job: str = "tag", finished: bool = True) -> str:
    """A run directory with a part file per row; its URI."""
    layout = RunDirectory(str(directory))
    record = RunRecord("id", job, "2026-01-01T00:00:00Z", {}, {"fingerprint": "x"}, {"fingerprint": "x"}, {})
    record.write(layout.record)
    common = {"status": "ok", "attempt": 1}
    for number, row in enumerate(rows):
        table = pa.Table.from_pylist([{**common, "source_key": number, **row}], TAGS)
        write_table_atomic(join(layout.output, f"part-{number}.parquet"), table)
    if finished:
        write_bytes_atomic(layout.manifest, json.dumps({"status": "finished"}).encode())
    return str(directory)
