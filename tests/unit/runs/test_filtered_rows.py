"""Filtered rows: counted, and neither failures nor retried unless they are named."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.written_runs import write_run
from vqa_ray.errors import FILTERED
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.runs.counts import count_rows, failed_rows
from vqa_ray.runs.directory import RunDirectory

ERROR = {"status": "error", "error_message": "no"}


def test_filtered_rows_are_counted_and_left_alone(tmp_path: Path) -> None:
    codes = ("model_error", "filtered_length", "filtered_refusal")
    rows = [{}, *({**ERROR, "error_code": code} for code in codes)]
    uris = [entry.uri for entry in RunDirectory(write_run(tmp_path, rows)).part_files()]
    counts = count_rows(uris)
    assert counts.errors == dict.fromkeys(codes, 1)
    assert failed_rows(uris, None)[:, 0].tolist() == [1]
    assert failed_rows(uris, frozenset(["filtered_length"]))[:, 0].tolist() == [2]
    manifest = {"rows": 4, "ok": 1, "failed": 3, "errors": dict(counts.errors), "findings": []}
    assert not RunResult.of_manifest(manifest, "out", 0.25).has_too_many_errors
    assert RunResult.of_manifest(manifest, "out", 0.2).has_too_many_errors
    assert "model_error" not in FILTERED
