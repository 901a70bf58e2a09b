"""The truth that a layout reads is what the protocol of the same benchmark takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.readers.benchmarks.samples import SAMPLES
from tests.unit.readers.inputs import read
from vqa_ray.evaluation.registry import protocol

# Layout → protocol, and right answers of the first row of its sample in the words of a model.
RIGHT = {
    "pope": ("pope", "Yes, there is."),
    "mme": ("mme", "yes"),
    "mmbench": ("mmbench", "B. blue"),
    "mmbench-circular": ("mmbench-circular", "B"),
    "seed-bench": ("seed-bench", "A"),
    "gqa": ("gqa", "yes"),
    "textvqa": ("textvqa", "stop"),
    "scienceqa": ("scienceqa", "The answer is B."),
    "mmmu": ("mmmu", "(B)"),
    "mathvista": ("mathvista", "1.2"),
    "ai2d": ("ai2d", "C"),
    "docvqa": ("anls", "january 8"),
    "chartqa": ("chartqa", "14.2"),
    "ocrbench": ("ocrbench", "It says Centre."),
}
OPTIONAL = {"answer_type", "question_type", "category"}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_judged_right(name: str, tmp_path: Path) -> None:
    row = read(SAMPLES[name.removesuffix("-circular")](tmp_path), format=name, reads_several=True)[0]
    judge = protocol(RIGHT[name][0])
    roles: dict[str, Any] = {}
    for role, columns in {**judge.truth, **judge.optional}.items():
        found = next((column for column in columns if column in row), None)
        roles[role] = None if found is None else row[found]
        assert found is not None or role in judge.optional, f"no column of truth for {role}"
    # Parts of a benchmark that its sample does not have.
    lacking = {role for role in judge.groups if roles[role] is None}
    assert lacking <= {"mathvista": {"category", "context", "grade", "language"}}.get(name, OPTIONAL)
    assert judge.judge(RIGHT[name][1], roles).score == 1.0
