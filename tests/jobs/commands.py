"""Running commands, in this process or in one of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.cli import main

ROOT = Path(__file__).parents[2]


def arguments(command: str, source: Path | str, output: Path | str, *more: str) -> list[str]:
    """A command on the fake model."""
    return [command, "--input", str(source), "--output", str(output), "--model", "fake:", "--quiet", *more]


def run_here(command: str, source: Path | str, output: Path | str, *more: str) -> int:
    """Run a command in this process, on the Ray that the tests share; gives its exit code."""
    return main(arguments(command, source, output, *more))


def start(*argv: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command as a process of its own, with a Ray of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def manifest(output: Path | str) -> dict[str, Any]:
    """The manifest of a run directory on the local disk."""
    return dict(json.loads(Path(output, "_vqa_ray", "manifest.json").read_text()))


def rows(output: Path | str) -> pa.Table:
    """All rows of a run directory on the local disk, as any reader finds them, sorted by source_key."""
    return pq.read_table(output).sort_by("source_key")
