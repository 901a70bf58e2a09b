"""Filtered rows: counted, and neither failures nor retried unless they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.written_runs import write_run
from vqa_ray.errors import FILTERED
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.summary import log_summary
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


def test_the_summary_counts_filtered_rows_apart(caplog: pytest.LogCaptureFixture) -> None:
    manifest = {
        **{"job": "instruct", "rows": 4, "ok": 1, "failed": 3, "errors": {"model_error": 1, "filtered_length": 2}},
        **{"images": 4, "questions": 0, "warnings": 0, "rows_sharing_a_row_id": 0, "findings": [], "model": {}},
        "timing": {"duration_s": 1.0, "rows_here": 4, "stages_s": {}},
        "throughput": {"images_per_s": 4.0, "questions_per_s": 0.0},
    }
    with caplog.at_level("INFO"):
        log_summary(manifest, "out", 0.2)
    assert "4 rows: 1 written, 1 failed, 2 filtered → out" in caplog.messages
    assert caplog.messages[-1].startswith("out: 1 of 4 rows failed, more than --max-error-fraction 0.2;")
