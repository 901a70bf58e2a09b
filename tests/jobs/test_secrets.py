"""Keys, passwords and signatures: given in an option, the environment or a row, they are written nowhere else."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import picture
from tests.jobs.commands import run_here
from vqa_ray.jobs.cli import main

SECRET = "hunter2Zq"
SIGNED = f"https://user:{SECRET}@127.0.0.1/a.jpg?X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}"
KEYS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "RAY_AUTH_TOKEN")
STORED = f"s3://key:{SECRET}@bucket/x"


@pytest.mark.parametrize("place", [STORED, f"gs://key:{SECRET}@bucket/x", SIGNED])
@pytest.mark.parametrize("option", ["--input", "--output", "--model", "--image-root", "--images-from"])
def test_a_place_with_a_password_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, place: str
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"image_uri": "a.jpg", "question": "q", "id": "1"}) + "\n")
    given = {"--input": str(tmp_path / "a.jsonl"), "--output": str(tmp_path / "out"), "--model": "fake:"}
    given |= {option: place} | ({"--images-key": "id"} if option == "--images-from" else {})
    assert main(["answer", *(word for pair in given.items() for word in pair)]) == 2
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, SECRET)


@pytest.mark.usefixtures("local_ray", "keys")
def test_what_rows_and_the_environment_hold_is_written_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vqa_ray")
    (tmp_path / "a.jpg").write_bytes(picture(1))
    refused = [SIGNED, SIGNED.replace("127.0.0.1", "no such host"), f"{STORED}.jpg", f"s3://{SECRET}:{SECRET}@/x.jpg"]
    refused += [f"ftp://u:{SECRET}@host/a.jpg", f"http://u:{SECRET}@[::1/a.jpg", f"https://h:99999/?sig={SECRET}"]
    lines = [{"image_uri": uri, "image_id": str(i), "question": "q"} for i, uri in enumerate(["a.jpg", *refused])]
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_text("\n".join(map(json.dumps, lines)))
    more = ("--allow-http", "--max-error-fraction", "1", "--gallery", str(output.with_suffix(".html")))
    assert run_here("answer", source, output, *more) == 0
    assert main(["report", str(output), "--output", str(tmp_path / "report.html")]) == 0
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err + caplog.text
    written = [Path(folder) / name for folder, _, names in os.walk(tmp_path) for name in names if name != "in.jsonl"]
    assert len(written) > 5
    for path in written:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            # Of a row, the column of its URI alone holds what the input holds.
            assert SECRET not in str(table.drop_columns(["image_uri"]).to_pylist())
            assert SECRET not in str(table.schema.metadata) + str(pq.read_metadata(path).metadata)
        else:
            assert SECRET.encode() not in path.read_bytes(), path
