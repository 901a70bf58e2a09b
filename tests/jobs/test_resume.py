"""Kill anything at any time, run the same command again, and each row is there once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, parquet_input, table
from tests.jobs.commands import arguments, finish, kill_after_first_commit, manifest, rows, run_here
from vqa_ray.jobs.cli import main
from vqa_ray.models.fake.model import FAILURE
from vqa_ray.runs import apply_retry as merge
from vqa_ray.runs.commits import committed_tasks
from vqa_ray.runs.directory import RunDirectory

SMALL = ("--rows-per-file", "8", "--batch-size", "8")


@pytest.mark.timeout(700)
def test_killed_and_run_again_gives_every_row_once(tmp_path: Path) -> None:
    count = 1200
    source, output = parquet_input(tmp_path / "in", count, shards=3), tmp_path / "out"
    argv = arguments("answer", source, output, "--rows-per-file", "40", "--batch-size", "16")
    layout = RunDirectory(str(output))
    kill_after_first_commit(argv, layout)
    assert not Path(layout.manifest).exists()
    present = sum(pq.read_metadata(uri).num_rows for uri in committed_tasks(layout).values())
    assert 0 < present < count
    assert finish(argv) == (0, "")
    written = rows(output)
    assert written["row_id"].to_pylist() == list(range(count))
    assert written["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(count)]
    result = manifest(output)
    assert result["findings"] == []
    assert result["timing"]["rows_here"] < count
    # No file is left that its rows' checkpoint does not know.
    assert len(layout.part_files()) == len(committed_tasks(layout))


@pytest.mark.usefixtures("local_ray")
class TestOnOneRay:
    """These share the Ray of the tests."""

    def test_finished_run_says_so_and_does_nothing(self, tmp_path: Path, monkeypatch) -> None:
        source, output = parquet_input(tmp_path / "in", 8), tmp_path / "out"
        assert run_here("answer", source, output) == 0
        before = Path(output, "_vqa_ray", "manifest.json").read_bytes()
        monkeypatch.setattr("vqa_ray.jobs.runtime.commit.write_rows", None)
        assert run_here("answer", source, output, "--batch-size", "2", "--log-format", "json") == 0
        assert Path(output, "_vqa_ray", "manifest.json").read_bytes() == before

    def test_a_refused_request_leaves_the_output_to_another(self, tmp_path: Path, capsys) -> None:
        source, output = parquet_input(tmp_path / "in", 8), tmp_path / "out"
        # That the cluster is too small is known once Ray has started.
        assert run_here("answer", source, output, "--num-gpus", "1") == 2
        assert "GPU" in capsys.readouterr().err
        assert run_here("answer", source, output, "--top-k", "2") == 0

    def test_another_command_is_refused_with_the_difference(self, tmp_path: Path, capsys) -> None:
        source, output = parquet_input(tmp_path / "in", 8), tmp_path / "out"
        assert run_here("answer", source, output) == 0
        capsys.readouterr()
        assert run_here("answer", source, output, "--top-k", "2", "--question", "is it?") == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert '--question: [] → ["is it?"]; --top-k: 5 → 2; use another --output' in line
        assert run_here("answer", parquet_input(tmp_path / "other", 8), output) == 2
        assert f"--input: {source} → {tmp_path / 'other'}" in capsys.readouterr().err
        assert run_here("tag", source, output) == 2
        assert "it is a run of `answer`, not of `tag`" in capsys.readouterr().err

    def test_rows_of_a_deleted_part_are_answered_again(self, tmp_path: Path) -> None:
        source, output = parquet_input(tmp_path / "in", 40), tmp_path / "out"
        assert run_here("answer", source, output, *SMALL) == 0
        layout = RunDirectory(str(output))
        Path(layout.part_files()[0].uri).unlink()
        Path(layout.manifest).unlink()
        assert run_here("answer", source, output, *SMALL) == 0
        assert rows(output)["row_id"].to_pylist() == list(range(40))
        assert 0 < manifest(output)["timing"]["rows_here"] < 40

    def test_lost_rows_make_the_run_fail(self, tmp_path: Path, capsys) -> None:
        source, output = parquet_input(tmp_path / "in", 40), tmp_path / "out"
        assert run_here("answer", source, output) == 0
        layout = RunDirectory(str(output))
        part = layout.part_files()[0].uri
        pq.write_table(pq.read_table(part).slice(1), part)
        Path(layout.manifest).unlink()
        assert run_here("answer", source, output) == 1
        assert manifest(output)["status"] == "inconsistent"
        assert manifest(output)["findings"][0].startswith("rows are missing: shard 0")


@pytest.fixture
def failing(tmp_path: Path, local_ray: None) -> tuple[Path, Path]:
    """(input, output) of a finished run: of 40 rows 5 have an image that is not there yet, 2 a question that fails."""
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    lines = []
    for number in range(40):
        question = FAILURE if number in (3, 30) else "what colour is it?"
        lines.append(json.dumps({"row_id": number, "image_uri": f"images/{number}.jpg", "question": question}))
    source.write_text("\n".join(lines))
    (tmp_path / "images").mkdir()
    for number, image in enumerate(table(40)["image"].to_pylist()):
        if number % 8 != 1:
            (tmp_path / "images" / f"{number}.jpg").write_bytes(image)
    assert run_here("answer", source, output, *SMALL, "--max-error-fraction", "0.5") == 0
    assert manifest(output)["errors"] == {"image_missing": 5, "model_error": 2}
    return source, output


def mend(source: Path) -> None:
    """Put the missing images in their places."""
    for number, image in enumerate(table(40)["image"].to_pylist()):
        (source.parent / "images" / f"{number}.jpg").write_bytes(image)


def retry(source: Path, output: Path, *codes: str) -> int:
    return run_here("answer", source, output, "--max-error-fraction", "0.5", "--retry-failed", *codes)


def test_failed_rows_of_one_code_are_answered_in_place(failing: tuple[Path, Path]) -> None:
    source, output = failing
    before = {part.name for part in output.glob("part-*.parquet")}
    mend(source)
    assert retry(source, output, "image_missing") == 0
    after = rows(output).to_pylist()
    assert [row["row_id"] for row in after] == list(range(40))
    assert {row["row_id"]: row["attempt"] for row in after if row["attempt"] != 1} == dict.fromkeys(range(1, 40, 8), 2)
    assert [row["row_id"] for row in after if row["status"] == "error"] == [3, 30]
    assert {part.name for part in output.glob("part-*.parquet")} == before
    told = manifest(output)
    assert told["attempts"] == [{"attempt": 2, "codes": ["image_missing"], "rows": 5, "ok": 5}]
    assert told["errors"] == {"model_error": 2}
    # The rest fails again; nothing is lost by it.
    assert retry(source, output) == 0
    assert manifest(output)["attempts"][1] == {"attempt": 3, "codes": ["all"], "rows": 2, "ok": 0}
    assert sorted({row["attempt"] for row in rows(output).to_pylist()}) == [1, 2, 3]
    assert not list(Path(output, "_vqa_ray").glob("attempt-*/part-*"))


def test_retry_of_codes_that_no_row_has_does_nothing(failing: tuple[Path, Path]) -> None:
    source, output = failing
    assert retry(source, output, "row_crashed") == 0
    assert manifest(output)["attempts"] == []


def test_retry_killed_while_it_merges_goes_on(failing: tuple[Path, Path], monkeypatch, capsys) -> None:
    source, output = failing
    mend(source)
    real, written = merge.write_table_atomic, []

    def dies_at_the_second_file(uri: str, merged: pa.Table) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(uri)
        real(uri, merged)

    monkeypatch.setattr(merge, "write_table_atomic", dies_at_the_second_file)
    assert retry(source, output, "image_missing") == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err
    half = rows(output)
    assert half["row_id"].to_pylist() == list(range(40))
    assert len(set(np.unique(half["attempt"].to_numpy()))) == 2
    monkeypatch.undo()
    assert retry(source, output) == 2
    assert "an attempt for image_missing is under way" in capsys.readouterr().err
    assert retry(source, output, "image_missing") == 0
    after = rows(output).to_pylist()
    assert [row["row_id"] for row in after] == list(range(40))
    assert [row["row_id"] for row in after if row["status"] == "error"] == [3, 30]
    assert manifest(output)["attempts"] == [{"attempt": 2, "codes": ["image_missing"], "rows": 5, "ok": 5}]


def test_interrupted_run_says_how_to_go_on(tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vqa_ray.jobs.runtime.run.write_rows", interrupted)
    argv = arguments("answer", parquet_input(tmp_path / "in", 4), tmp_path / "out")
    assert main(argv) == 130
    assert capsys.readouterr().err == "vqa-ray answer: stopped by Ctrl-C; the same command goes on from here\n"
