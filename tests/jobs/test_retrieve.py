"""`vqa-ray retrieve`: every image comes back, the matches sorted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import images_input, jsonl_input, parquet_input, picture
from tests.helpers.tiny import save_tiny_vilt
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray import schema
from vqa_ray.jobs.spec.images import RetrieveSpec

pytestmark = pytest.mark.usefixtures("local_ray")

RED = '"what colour is it?" = "red"'


def matches(output: Path) -> list[dict[str, Any]]:
    return pq.read_table(output / "_matches.pq").to_pylist()


def test_every_image_comes_back_and_the_matches_sorted(tmp_path: Path) -> None:
    source, output = parquet_input(tmp_path / "in", 40), tmp_path / "out"
    assert run_here("retrieve", source, output, "--where", f"{RED} and not 'is it a dog?'", "--keep", "colour") == 0
    found = rows(output)
    assert found.schema.names == [*schema.RETRIEVE.names, "colour"]
    assert found.num_rows == 40
    listed = matches(output)
    assert listed == sorted(
        (row for row in found.to_pylist() if row["match"]), key=lambda r: (-r["score"], r["row_id"])
    )
    assert {row["colour"] for row in listed} == {"red"}
    told = manifest(output)
    assert (told["job"], told["rows"], told["ok"], told["findings"]) == ("retrieve", 40, 40, [])
    asked = [score["score"] is not None for row in found.to_pylist() for score in row["scores"]]
    assert told["questions"] == sum(asked)
    (part,) = output.glob("part-*.parquet")
    assert schema.metadata_of(pq.read_schema(part))["job"] == "retrieve"


def test_a_finished_run_lists_as_many_matches_as_are_asked_for(tmp_path: Path) -> None:
    source, output = parquet_input(tmp_path / "in", 40), tmp_path / "out"
    command = ("retrieve", source, output, "--where", RED, "--threshold", "0.3", "--ask-all")
    assert run_here(*command) == 0
    whole = matches(output)
    assert len(whole) == 10
    assert run_here(*command, "--top-k", "3") == 0
    assert matches(output) == whole[:3]
    assert run_here(*command[:-2], "0.4", "--ask-all") == 2, "another threshold is another command"


def test_failed_rows_are_asked_again_and_enter_the_matches(tmp_path: Path) -> None:
    source, output = jsonl_input(tmp_path / "in", 12), tmp_path / "out"
    broken = source.parent / "images" / "00004.jpg"
    broken.write_bytes(b"no image")
    assert run_here("retrieve", source, output, "--where", RED, "--threshold", "0.9") == 0
    assert sorted(row["image_id"] for row in matches(output)) == ["images/00000.jpg", "images/00008.jpg"]
    broken.write_bytes(picture(4))
    again = ("--retry-failed", "image_undecodable")
    assert run_here("retrieve", source, output, "--where", RED, "--threshold", "0.9", *again) == 0
    found = sorted(row["image_id"] for row in matches(output))
    assert found == [f"images/0000{number}.jpg" for number in (0, 4, 8)]


def test_an_expression_that_does_not_parse_is_shown_with_its_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = images_input(tmp_path / "in", 2)
    assert run_here("retrieve", source, tmp_path / "out", "--where", '"a?" and or "b?"') == 2
    assert capsys.readouterr().err == (
        'vqa-ray retrieve: --where: wanted a question in quotes, found `or`, at character 10 of \'"a?" and or "b?"\'; '
        'in a shell: --where \'"is there a dog?" and not "is it a toy?"\'\n'
        '  "a?" and or "b?"\n'
        "           ^\n"
    )
    assert not (tmp_path / "out").exists()


def test_an_answer_outside_the_vocabulary_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vilt = save_tiny_vilt(tmp_path / "vilt")
    source = images_input(tmp_path / "in", 2)
    where = '"what is it?" = "a zebra crossing"'
    assert run_here("retrieve", source, tmp_path / "out", "--model", str(vilt), "--where", where) == 2
    told = capsys.readouterr().err
    assert f"--where: model {vilt} cannot answer 'a zebra crossing': it is not in its vocabulary; " in told
    assert "of its" in told or "nearest words" in told


def test_the_command_is_what_decides_the_result() -> None:
    spec = RetrieveSpec(input="in", output="out", model="fake:", where=RED, top_k=3)
    assert "top_k" not in spec.command()
    assert spec.command()["where"] == RED
