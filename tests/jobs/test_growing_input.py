"""The same command goes on although its input has grown, changed or shrunk, and says what is different."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import picture
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.runs.commits import committed_tasks
from vqa_ray.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("local_ray")
QUESTION = ("--question", "what colour is it?", "--no-quiet", "--rows-per-file", "12", "--batch-size", "4")
RED, GREEN = picture(0), picture(1, (80, 60))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(input, output): 12 red photos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"{number:02}.jpg").write_bytes(RED)
    return tmp_path / "in", tmp_path / "out"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged since the last call."""
    monkeypatch.setattr("vqa_ray.jobs.runtime.logs.configure", lambda *_: None)
    caplog.set_level(logging.INFO, "vqa_ray.jobs")

    def new() -> str:
        text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("vqa_ray.jobs"))
        caplog.clear()
        return text

    return new


def cut_short(output: Path) -> list[str]:
    """Make a finished run one that was killed: its last four rows are not written yet; gives their image_ids."""
    layout = RunDirectory(str(output))
    (part,), (commit,) = layout.part_files(), committed_tasks(layout).values()
    table = pq.read_table(part.uri)
    pq.write_table(table.slice(0, table.num_rows - 4), part.uri)
    pq.write_table(table.select(["source_key"]).slice(0, table.num_rows - 4), commit)
    Path(layout.manifest).unlink()
    return table["image_id"].to_pylist()[-4:]


def answers(output: Path) -> dict[str, str]:
    return {row["image_id"]: row["answer"] or row["error_code"] for row in rows(output).to_pylist()}


def test_rows_that_somebody_deleted_from_a_finished_run_are_answered_again(photos: tuple[Path, Path], said) -> None:
    source, output = photos
    assert run_here("answer", source, output, *QUESTION) == 0
    (part,) = RunDirectory(str(output)).part_files()
    Path(part.uri).unlink()
    said()
    assert run_here("answer", source, output, *QUESTION) == 0
    assert "1 files of rows are gone; their rows are answered again" in said()
    assert len(answers(output)) == 12


def test_photos_that_came_changed_and_went(photos: tuple[Path, Path], said) -> None:
    source, output = photos
    assert run_here("answer", source, output, *QUESTION) == 0
    missing = cut_short(output)
    (source / missing[0]).write_bytes(GREEN)
    (source / missing[1]).unlink()
    (source / "new.jpg").write_bytes(GREEN)
    stays = next(name for name in (f"{number:02}.jpg" for number in range(12)) if name not in missing)
    os.utime(source / stays, (1, 1))
    said()
    assert run_here("answer", source, output, *QUESTION) == 0
    told = said()
    assert f"since the run began, 1 file was added (new.jpg), 1 changed ({missing[0]}: " in told
    assert f"1 gone ({missing[1]}), 1 has a new time but the same size ({stays})" in told
    assert "added files are left out; --update takes them in" in told
    expected = {f"{number:02}.jpg": "red" for number in range(12)}
    assert answers(output) == {**expected, missing[0]: "green", missing[1]: "image_missing"}
    # Finished, it still says so; the added photo is taken in on request, once.
    assert run_here("answer", f"./{source.name}/", "./out/", *QUESTION) == 0
    told = said()
    assert "this run has finished already" in told
    assert "1 file was added (new.jpg)" in told
    assert run_here("answer", source, output, *QUESTION, "--update", "--retry-failed") == 2
    assert run_here("answer", source, output, *QUESTION, "--update") == 0
    assert answers(output) == {**expected, missing[0]: "green", missing[1]: "gone", "new.jpg": "green"}
    assert manifest(output)["timing"]["rows_here"] == 2, "the new one, and the one with a new time"
    assert manifest(output)["findings"] == []
    for more in ((), ("--update",)):
        assert run_here("answer", source, output, *QUESTION, *more) == 0
        assert manifest(output)["rows"] == 13
    # A photo that came back is answered by the next update, in its place.
    (source / missing[1]).write_bytes(GREEN)
    assert run_here("answer", source, output, *QUESTION, "--update") == 0
    assert manifest(output)["rows"] == 13
    assert answers(output)[missing[1]] == "green"


def test_a_run_of_d8ecede_goes_on(photos: tuple[Path, Path], said) -> None:
    """Its record has no place and no list of files, and its command names the input as it was written."""
    source, output = photos
    for path in source.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert run_here("answer", "in", output, *QUESTION) == 0
    cut_short(output)
    layout = RunDirectory(str(output))
    Path(layout.listing()).unlink()
    record = json.loads(Path(layout.record).read_text())
    record["command"] = {**record["command"], "input": "in"}
    del record["input"]["place"]
    Path(layout.record).write_text(json.dumps(record))
    (source / "new.jpg").write_bytes(GREEN)
    os.utime(source / "new.jpg", (4_000_000_000, 4_000_000_000))
    said()
    assert run_here("answer", "./in/", output, *QUESTION) == 0
    assert "1 file was added (new.jpg)" in said()
    assert answers(output) == {f"{number:02}.jpg": "red" for number in range(12)}
    assert Path(layout.listing()).exists()


def test_a_table_that_has_changed_is_refused_by_name_and_the_way_out_works(tmp_path: Path, capsys) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.jpg").write_bytes(RED)
    lines = [json.dumps({"image_uri": "a.jpg", "question": "what colour is it?", "row_id": i}) for i in range(12)]
    (source / "q.jsonl").write_text("\n".join(lines))
    assert run_here("answer", source / "q.jsonl", output, *QUESTION[2:]) == 0
    cut_short(output)
    (source / "q.jsonl").write_text("\n".join(lines[1:]))
    capsys.readouterr()
    assert run_here("answer", source / "q.jsonl", output, *QUESTION[2:]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "a file has changed since the run began (q.jsonl: " in told
    assert "put it back as it was, or use another --output" in told
    (source / "q.jsonl").write_text("\n".join(lines))
    assert run_here("answer", source / "q.jsonl", output, *QUESTION[2:]) == 0
    assert rows(output)["row_id"].to_pylist() == list(range(12))


@pytest.mark.parametrize("command", ["answer", "index"])
def test_output_below_the_input(photos: tuple[Path, Path], command: str, capsys) -> None:
    source, _ = photos
    output = source / "sub" / "results"
    more = QUESTION if command == "answer" else ("--no-quiet",)
    for _ in range(2):
        assert run_here(command, source, output, *more) == 0, capsys.readouterr().err
    assert run_here(command, "in/", output, *more, "--retry-failed") == 0, capsys.readouterr().err
    assert run_here(command, "in", "in", *more) == 2
    assert "--output in: " in capsys.readouterr().err.splitlines()[-1]


def test_an_index_knows_its_input_however_it_is_written(photos: tuple[Path, Path], said) -> None:
    source, output = photos
    (source.parent / "link").symlink_to(source)
    assert run_here("index", "link", output, "--no-quiet") == 0
    for spelling in ("link/", "./in", str(source), f"file://{source}/"):
        said()
        assert run_here("index", spelling, output, "--no-quiet") == 0
        assert "up to date" in said(), spelling
