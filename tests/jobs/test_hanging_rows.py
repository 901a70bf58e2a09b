"""A row over which the model hangs ends as `row_crashed`; its neighbours are answered, and the run comes to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.coloured import NAMES, picture
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.models.fake.model import HANG


@pytest.mark.usefixtures("local_ray")
def test_a_row_that_hangs_costs_that_row_alone(tmp_path: Path) -> None:
    lines = []
    for number in range(24):
        (tmp_path / f"{number}.jpg").write_bytes(picture(number))
        question = HANG if number == 9 else "what colour is it?"
        lines.append({"row_id": number, "image_uri": f"{number}.jpg", "question": question})
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)))
    assert run_here("answer", source, tmp_path / "out", "--row-timeout-s", "2", "--batch-size", "8") == 0
    answered = rows(tmp_path / "out").to_pylist()
    assert [row["answer"] for row in answered] == [None if n == 9 else NAMES[n % len(NAMES)] for n in range(24)]
    assert answered[9]["error_code"] == "row_crashed"
    assert answered[9]["error_message"].endswith("or took more than 2 s (--row-timeout-s)")
    assert manifest(tmp_path / "out")["errors"] == {"row_crashed": 1}
