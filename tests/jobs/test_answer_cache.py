"""`--cache`: what the model was asked before is not asked again, by any command, in any later run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.coloured import NAMES, images_input, parquet_input
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.cache.directory import MARKER

pytestmark = pytest.mark.usefixtures("local_ray")


def _taxonomy(path: Path, attributes: int) -> str:
    content = [
        {"name": f"a{number}", "question": f"colour {number}?", "choices": list(NAMES)} for number in range(attributes)
    ]
    path.write_text(json.dumps({"attributes": content}))
    return str(path)


def _counts(output: Path) -> tuple[int, int]:
    entry: dict[str, Any] = manifest(output)["cache"]
    return entry["hits"], entry["misses"]


def test_a_new_attribute_costs_one_question_an_image_and_a_lost_output_none(tmp_path: Path, capsys) -> None:
    source, cache = parquet_input(tmp_path / "in", 300), str(tmp_path / "cache")
    seven, eight = _taxonomy(tmp_path / "7.yaml", 7), _taxonomy(tmp_path / "8.yaml", 8)
    # A process asks about the same pixels once; some of these JPEGs decode to the same.
    one = ("--num-actors", "1", "--cache", cache)
    assert run_here("tag", source, tmp_path / "seven", "--tags", seven, *one) == 0
    distinct, rest = divmod(_counts(tmp_path / "seven")[1], 7)
    assert (200 < distinct < 300, rest) == (True, 0)
    assert run_here("tag", source, tmp_path / "eight", "--tags", eight, *one) == 0
    assert _counts(tmp_path / "eight")[1] == distinct
    shutil.rmtree(tmp_path / "eight")
    assert run_here("tag", source, tmp_path / "eight", "--tags", eight, "--cache", cache) == 0
    assert _counts(tmp_path / "eight")[1] == 0
    assert run_here("tag", source, tmp_path / "plain", "--tags", eight) == 0
    assert "cache" not in manifest(tmp_path / "plain")
    assert rows(tmp_path / "eight").equals(rows(tmp_path / "plain"))
    (tmp_path / "cache" / MARKER).write_text('{"format": 2}')
    assert run_here("tag", source, tmp_path / "other", "--tags", eight, "--cache", cache) == 2
    assert "format 2 of another version" in capsys.readouterr().err


def test_answers_of_several_questions_and_captions_come_back_whole(tmp_path: Path) -> None:
    source, cache = images_input(tmp_path / "in", 24), str(tmp_path / "cache")
    ask = ("--question", "what colour is it?", "--question", "is it red?", "--model", "fake:boxes", "--cache", cache)
    runs = {
        "answer": ask,
        "caption": ("--model", "fake:boxes", "--cache", cache),
        "retrieve": ("--where", '"is it red?" and not "is it blue?"', "--ask-all", "--cache", cache),
    }
    for command, argv in runs.items():
        first, second = tmp_path / f"{command}-1", tmp_path / f"{command}-2"
        assert run_here(command, source, first, *argv) == 0
        assert run_here(command, source, second, *argv) == 0
        assert _counts(second)[1] == 0
        assert _counts(second)[0] == sum(_counts(first))
        assert rows(second).equals(rows(first))
        assert not [name for name in rows(second).column_names if "cache" in name]


def test_failed_rows_are_asked_again_and_a_killed_run_loses_no_answer(tmp_path: Path) -> None:
    source, cache = images_input(tmp_path / "in", 12), str(tmp_path / "cache")
    ask = ("--question", "what colour is it?", "--question", "FAKE_FAILURE", "--max-error-fraction", "1")
    for output in ("first", "second"):
        assert run_here("answer", source, tmp_path / output, *ask, "--cache", cache) == 0
        assert manifest(tmp_path / output)["errors"] == {"model_error": 12}
    assert _counts(tmp_path / "second")[0] == 12
    assert run_here("answer", source, tmp_path / "second", *ask, "--cache", cache, "--retry-failed") == 0
    assert rows(tmp_path / "second")["attempt"].to_pylist().count(2) == 12


def test_a_cache_on_s3(tmp_path: Path, s3_session: str) -> None:
    source, cache = images_input(tmp_path / "in", 8), f"{s3_session}/{tmp_path.name}/cache"
    for output in ("first", "second"):
        assert run_here("answer", source, tmp_path / output, "--question", "what?", "--cache", cache) == 0
    assert _counts(tmp_path / "second") == (8, 0)


def test_a_directory_that_is_no_cache_is_refused(tmp_path: Path, capsys) -> None:
    source = images_input(tmp_path / "in", 2)
    assert run_here("answer", source, tmp_path / "out", "--question", "what?", "--cache", str(source)) == 2
    assert "holds files that are not of an answer cache" in capsys.readouterr().err
    assert run_here("answer", source, tmp_path / "out", "--question", "what?") == 0
    inside = str(tmp_path / "out" / "cache")
    assert run_here("answer", source, tmp_path / "next", "--question", "what?", "--cache", inside) == 2
    assert "which holds a run or an index" in capsys.readouterr().err
    new = tmp_path / "new"
    for cache in (new, new / "cache"):
        assert run_here("answer", source, new, "--question", "what?", "--cache", str(cache)) == 2
        assert f"--cache {cache}: lies in --output {new}; wanted a directory outside of it" in capsys.readouterr().err
        assert not new.exists()
    assert run_here("answer", source, new, "--question", "what?", "--cache-max-bytes", "9") == 2
    assert "--cache-max-bytes goes with --cache" in capsys.readouterr().err
