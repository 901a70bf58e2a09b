"""The recipes of docs/api.md run as printed, and the API gives what the commands write."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import vqa_ray
from tests.jobs.commands import DEADLINE_S, ROOT
from vqa_ray.jobs.cli import main

pytestmark = pytest.mark.timeout(DEADLINE_S)
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)```", PAGE, re.M | re.S))
COMMANDS = [shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Iterator[Path]:
    """The working directory of the recipes, filled by the commands that the page names."""
    directory = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", directory / "cache")
        for name, *argv in COMMANDS:
            assert name == "vqa-ray"
            quiet = [] if argv[0] == "catalog" else ["--quiet"]
            # Workers of the Ray that tests share have another working directory.
            absolute = [str(directory / each) if each.startswith("./") else each for each in argv]
            assert main([*absolute, *quiet]) == 0
        yield directory


def run_recipe(title: str) -> dict[str, object]:
    """Run the code below a heading as it is printed; gives its variables."""
    names: dict[str, object] = {}
    exec(compile(RECIPES[title], f"docs/api.md: {title}", "exec"), names)
    return names


def test_the_page_has_five_recipes() -> None:
    assert list(RECIPES) == ["In a notebook", "In a Ray pipeline of your own", "With datasets", "Search", "Results"]


@pytest.mark.usefixtures("place")
def test_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    run_recipe("In a notebook")
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("AnswerResult(text='")
    assert len(told) == 1 + len(list(Path("products").glob("*.jpg"))) + 3


def test_ray_pipeline(place: Path) -> None:
    # In a process of its own, whose Ray works in this directory.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    recipe = [sys.executable, "-c", RECIPES["In a Ray pipeline of your own"]]
    run = subprocess.run(
        recipe, check=False, cwd=place, env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert run.returncode == 0, run.stderr
    answered = pq.read_table(place / "answered")
    assert answered.num_rows == 48
    assert set(answered["status"].to_pylist()) == {"ok"}
    assert {"image_id", "colour", "question", "answer", "question_index"} <= set(answered.column_names)
    coloured = [row for row in answered.to_pylist() if row["question"] == "what colour is it?"]
    assert np.mean([row["answer"] == row["colour"] for row in coloured]) > 0.8


@pytest.mark.usefixtures("place")
def test_datasets(capsys: pytest.CaptureFixture[str]) -> None:
    tagged = run_recipe("With datasets")["tagged"]
    assert tagged.num_rows == 24  # type: ignore[attr-defined]
    assert "colour:red" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_search() -> None:
    names = run_recipe("Search")
    hits, similar = names["hits"], names["similar"]
    assert isinstance(hits, vqa_ray.Hits)
    assert isinstance(similar, vqa_ray.Hits)
    assert len(hits) == 5
    assert similar[0].image_id == hits[0].image_id
    assert similar[0].score == pytest.approx(1, abs=1e-3)


def test_results_are_those_of_the_other_recipes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_recipe("Results")["run"]
    assert isinstance(run, vqa_ray.Run)
    assert "rows=24, failed=0" in capsys.readouterr().out
    rows = run.table.to_pylist()
    model = vqa_ray.load("bundled:catalog-vilt")
    results = model.answer([row["image_uri"] for row in rows], "is there a dog?", errors="raise")
    again = vqa_ray.Answer("bundled:catalog-vilt", "is there a dog?")(run.read(["image_uri"]))
    for row, result, other in zip(rows, results, again.to_pylist(), strict=True):
        assert isinstance(result, vqa_ray.AnswerResult)
        assert row["answer"] == result.text == other["answer"]
        assert row["answer_score"] == pytest.approx(result.score, abs=2e-3)
        assert row["answer_score"] == pytest.approx(other["answer_score"], abs=2e-3)
        names = ("status", "error_code", "finish_reason", "warning")
        assert [row[name] for name in names] == [other[name] for name in names]
    index = vqa_ray.open_index(str(place / "index"))
    stored = index._index.rows(["image_uri", "embedding"])
    vectors = vqa_ray.load("bundled:catalog-clip").embed(stored["image_uri"].to_pylist(), errors="raise")
    assert np.allclose(np.stack(vectors), np.array(stored["embedding"].to_pylist()), atol=2e-2)
