"""Commands as a user runs them, and their rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from vqa_ray.api.run import read_run


def start(command: str, photos: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "vqa_ray", command, "--input", str(photos), "--output", str(output), *more]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"})


def run(command: str, photos: Path, output: Path, *more: str) -> tuple[int, str]:
    process = start(command, photos, output, *more)
    _, messages = process.communicate(timeout=1800)
    return process.returncode, messages


def rows(output: Path, *columns: str) -> list[dict[str, Any]]:
    table: pa.Table = read_run(str(output)).table.sort_by([("image_id", "ascending")])
    return table.select(list(columns)).to_pylist()
