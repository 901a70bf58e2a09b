"""`vqa-ray plan` beside the real run of ten times the sample's rows: within 20 % of its time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.commands import ROOT, arguments
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory


def command(*line: str) -> str:
    """Run a command in a process of its own, and give what it prints."""
    full = [sys.executable, "-m", "vqa_ray.jobs.cli", *line]
    return subprocess.run(full, cwd=ROOT, check=True, capture_output=True, text=True, timeout=3000).stdout


@pytest.mark.soak
@pytest.mark.timeout(6000)
@pytest.mark.parametrize(("model", "rows"), [("bundled:catalog-vilt", 6_000), ("fake:", 20_000)])
def test_a_plan_is_within_a_fifth_of_the_run(model: str, rows: int, tmp_path: Path) -> None:
    command("catalog", "--count", str(rows), "--output", f"{tmp_path}/in", "--quiet")
    job = arguments("answer", f"{tmp_path}/in", tmp_path / "out", "--model", model, "--question", "what is it?")
    plan = json.loads(command("plan", "--sample-s", "30", "--json", *job))
    command(*job)
    finished = manifest.read(RunDirectory(f"{tmp_path}/out").manifest)
    assert finished is not None
    took = finished["timing"]["duration_s"]
    assert plan["rows"] == rows
    assert 3600 * plan["hours"] == pytest.approx(took, rel=0.2), plan
