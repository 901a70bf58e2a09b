"""Everything on object storage: shards, image references, output, checkpoint, a kill and a retry."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, parquet_input, picture
from tests.jobs.commands import arguments, kill_after_first_commit, run_here
from vqa_ray.jobs.cli import main
from vqa_ray.runs.commits import committed_tasks
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import filesystem_for, read_bytes

pytestmark = pytest.mark.usefixtures("local_ray")


def upload(directory: Path, uri: str) -> str:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            write_bytes_atomic(f"{uri}/{path.relative_to(directory).as_posix()}", path.read_bytes())
    return uri


def rows(output: str) -> pa.Table:
    tables = []
    for entry in RunDirectory(output).part_files():
        filesystem, path = filesystem_for(entry.uri)
        tables.append(pq.read_table(path, filesystem=filesystem))
    return pa.concat_tables(tables).sort_by("source_key")


def manifest(output: str) -> dict[str, object]:
    return dict(json.loads(read_bytes(RunDirectory(output).manifest)))


def test_parquet_from_a_bucket_to_a_bucket(tmp_path: Path, s3_session: str) -> None:
    source = upload(parquet_input(tmp_path / "in", 24), f"{s3_session}/parquet/in")
    output = f"{s3_session}/parquet/out"
    small = ("--rows-per-file", "8", "--batch-size", "8")
    assert run_here("answer", source, output, *small) == 0
    assert rows(output)["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(24)]
    assert manifest(output)["findings"] == []
    # A part that is gone is answered again.
    layout = RunDirectory(output)
    fsspec.filesystem("s3").rm([layout.part_files()[0].uri, layout.manifest])
    assert run_here("answer", source, output, *small) == 0
    assert rows(output)["row_id"].to_pylist() == list(range(24))
    assert 0 < manifest(output)["timing"]["rows_here"] < 24  # type: ignore[index]


def test_image_references_and_retry(s3_session: str) -> None:
    place, output = f"{s3_session}/lines", f"{s3_session}/lines-out"
    lines = []
    for number in range(10):
        lines.append(json.dumps({"image_uri": f"images/{number}.jpg", "question": "what colour is it?"}))
        if number != 4:
            write_bytes_atomic(f"{place}/images/{number}.jpg", picture(number))
    write_bytes_atomic(f"{place}/rows.jsonl", "\n".join(lines).encode())
    assert run_here("answer", f"{place}/rows.jsonl", output) == 0
    assert [row["error_code"] for row in rows(output).to_pylist()] == [None] * 4 + ["image_missing"] + [None] * 5
    write_bytes_atomic(f"{place}/images/4.jpg", picture(4))
    assert run_here("answer", f"{place}/rows.jsonl", output, "--retry-failed") == 0
    answered = rows(output)
    assert answered["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(10)]
    assert answered["attempt"].to_pylist() == [1] * 4 + [2] + [1] * 5


def test_bucket_that_is_not_there(capsys, tmp_path: Path, s3_session: str) -> None:
    assert run_here("answer", parquet_input(tmp_path / "in", 2), "s3://no-such-bucket/out") == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("vqa-ray answer: --output s3://no-such-bucket/out: cannot be written: ")


@pytest.mark.timeout(700)
def test_killed_and_run_again_gives_every_row_once(
    tmp_path: Path, s3_session: str, capfd: pytest.CaptureFixture[str]
) -> None:
    count = 600
    source = upload(parquet_input(tmp_path / "in", count), f"{s3_session}/kill/in")
    output = f"{s3_session}/kill/out"
    argv = arguments("answer", source, output, "--rows-per-file", "40", "--batch-size", "16")
    kill_after_first_commit(argv, RunDirectory(output))
    assert main(argv) == 0
    assert capfd.readouterr().err == ""
    assert rows(output)["row_id"].to_pylist() == list(range(count))
    assert len(RunDirectory(output).part_files()) == len(committed_tasks(RunDirectory(output)))
