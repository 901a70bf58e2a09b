"""The rotations of CircularEval beside those of the official table of MMBench."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vqa_ray.readers.benchmarks.examples import ROTATION, rotations

DATA = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "eval_gold" / "mmbench"
_COLUMNS = ("index", "A", "B", "C", "D", "answer")


@pytest.mark.skipif(not DATA.is_dir(), reason="VQA_RAY_TEST_DATA has no eval_gold")
def test_rotations_are_those_of_the_official_table() -> None:
    (file,) = DATA.glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    official = {row["index"]: {name: str(row[name] or "") for name in _COLUMNS} for row in rows}
    first = [row for index, row in official.items() if index < ROTATION]
    made = [
        [{name: str(turned[name] or "") for name in _COLUMNS} for turned in rotations(_cells(row))] for row in first
    ]
    equal = sum(all(official.get(int(turned["index"])) == turned for turned in group) for group in made)
    # The official table leaves D of 53 questions in its place and rotates the others.
    assert (len(first), equal) == (1_176, 1_123)
    assert sum(map(len, made)) == len(official) + 53


def _cells(row: dict[str, str]) -> dict[str, str | None]:
    return {name: cell or None for name, cell in row.items()}
