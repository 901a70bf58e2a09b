"""Runs of any job for tests, written straight from rows: no Ray, no model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.uri import join

_OK = {"status": schema.STATUS_OK, "attempt": 1, "question_index": 0}


def write_run(
    directory: Path,
    rows: Sequence[Mapping[str, Any]],
    form: pa.Schema = schema.ANSWER,
    *,
    job: str = "answer",
    several: bool = False,
    finished: bool = True,
    files: int = 2,
) -> str:
    """A run directory with the rows in some part files; its URI. Rows are numbered unless they say which they are."""
    layout = RunDirectory(str(directory))
    model = {"reference": "fake:", "fingerprint": "x"}
    RunRecord("id", job, "2026-01-01T00:00:00Z", {}, model, {"fingerprint": "x", "several": several}, {}, 2).write(
        layout.record
    )
    full = [{**_OK, "source_key": number, "row_id": number, **row} for number, row in enumerate(rows)]
    for number in range(files):
        table = pa.Table.from_pylist(full[number::files], form)
        write_table_atomic(join(layout.output, f"part-{number}.parquet"), table)
    if finished:
        timing = {"finished": "2026-01-01T00:01:00Z"}
        write_bytes_atomic(layout.manifest, json.dumps({"status": "finished", "timing": timing}).encode())
    return str(directory)
