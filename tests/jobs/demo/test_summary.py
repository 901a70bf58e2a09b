"""The last words of the demo: what they name must exist."""

from __future__ import annotations

import re
from pathlib import Path

from vqa_ray.jobs.demo.evaluate import SearchResult
from vqa_ray.jobs.demo.summary import Step, summary
from vqa_ray.report.gallery import Measure


def test_tells_where_everything_is_and_what_to_run_next(tmp_path: Path) -> None:
    steps = [Step("tagged by m", 12.34, "tags"), Step("drawn", 0.5, "gallery.html")]
    text = "\n".join(
        summary(
            tmp_path, steps, [], [Measure("is there a dog? F1", 0.9534, 600)], found=SearchResult(5, 4, 6), model="m"
        )
    )
    assert "vqa-ray demo: 13 s" in text
    assert f"12.3 s  tagged by m                        {tmp_path / 'tags'}" in text
    assert " 95.3 %  is there a dog? F1" in text
    assert "5 hits, 4 of them right; 6 exist" in text
    assert f"file://{tmp_path}/gallery.html" in text
    assert "mean nothing" not in text
    (taxonomy,) = re.findall(r"start from: (.*)\)", text)
    assert Path(taxonomy).is_file()


def test_says_that_a_fake_model_guesses(tmp_path: Path) -> None:
    assert "only guesses" in "\n".join(summary(tmp_path, [], [], [], found=SearchResult(0, 0, 6), model="fake:"))


def test_says_that_there_is_nothing_to_find(tmp_path: Path) -> None:
    text = "\n".join(summary(tmp_path, [], [], [], found=SearchResult(0, 0, 0), model="m"))
    assert "there is no red mug with a dog among so few products" in text
