"""Rows as CSV: what a spreadsheet must not run."""

from __future__ import annotations

from vqa_ray.export.text_files import csv_lines


def test_foreign_text_is_no_formula_for_a_spreadsheet() -> None:
    rows = [{"image_id": "=1+1.jpg", "question": "what?", "score": -0.5, "tags": ["a"]}]
    assert list(csv_lines(rows, ["image_id", "question", "score", "tags"]))[1] == '\'=1+1.jpg,what?,-0.5,"[""a""]"\n'
