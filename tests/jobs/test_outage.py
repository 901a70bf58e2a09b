"""A store of images that is down costs time and no row; one that stays down ends the run, which goes on later."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import fsspec
import pytest
from ray.experimental.internal_kv import _internal_kv_list

from tests.helpers.coloured import NAMES, picture
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.images.outage import DELIVERED, OUTAGES
from vqa_ray.storage.atomic import write_bytes_atomic

pytestmark = pytest.mark.usefixtures("local_ray")


def questions(file: Path, uris: list[str]) -> Path:
    lines = [{"row_id": i, "image_uri": uri, "question": "what colour is it?"} for i, uri in enumerate(uris)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_a_disk_that_is_gone_for_seconds_costs_no_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photos, count = tmp_path / "photos", 3000
    photos.mkdir()
    for number, name in enumerate(NAMES):
        (photos / f"{name}.jpg").write_bytes(picture(number))
    for number in range(count):
        os.link(photos / f"{NAMES[number % len(NAMES)]}.jpg", photos / f"{number}.jpg")
    source = questions(tmp_path / "in.jsonl", [str(photos / f"{number}.jpg") for number in range(count)])

    def wait_for(kind: str) -> None:
        deadline = time.monotonic() + 100
        while not _internal_kv_list(kind, namespace="vqa-ray") and time.monotonic() < deadline:
            time.sleep(0.01)

    def unmount_for_seconds() -> None:
        wait_for(DELIVERED)
        photos.rename(tmp_path / "away")
        # On a busy machine, nobody may look for seconds.
        wait_for(OUTAGES)
        time.sleep(5)
        (tmp_path / "away").rename(photos)

    thread = threading.Thread(target=unmount_for_seconds)
    thread.start()
    code = run_here("answer", source, tmp_path / "out", "--batch-size", "8")
    thread.join()
    assert code == 0
    assert rows(tmp_path / "out")["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(count)]
    assert "is down, waiting (--outage-timeout-s): nothing is stored there" in capfd.readouterr().err
    assert not _internal_kv_list(DELIVERED, namespace="vqa-ray")


def test_a_bucket_that_is_gone_ends_the_run_which_goes_on_when_it_is_back(
    tmp_path: Path, s3_session: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bucket, output = f"{s3_session}-gone", tmp_path / "out"
    source = questions(tmp_path / "in.jsonl", [f"{bucket}/{number}.jpg" for number in range(12)])
    assert run_here("answer", source, output) == 4
    told = capfd.readouterr().err.splitlines()[-1]
    assert told.startswith(f"vqa-ray answer: {bucket} refuses every image: ")
    assert "the same command goes on from here" in told
    assert not list(output.glob("*.parquet"))
    fsspec.filesystem("s3").mkdir(bucket)
    for number in range(12):
        if number != 5:
            write_bytes_atomic(f"{bucket}/{number}.jpg", picture(number))
    assert run_here("answer", source, output) == 0
    assert [row["error_code"] for row in rows(output).to_pylist()] == [None] * 5 + ["image_missing"] + [None] * 6
    assert manifest(output)["findings"] == []


def test_without_patience_failures_are_error_rows(tmp_path: Path, s3_session: str) -> None:
    source = questions(tmp_path / "in.jsonl", [f"{s3_session}-never/{number}.jpg" for number in range(12)])
    more = ("--outage-timeout-s", "0", "--max-error-fraction", "1")
    assert run_here("answer", source, tmp_path / "out", *more) == 0
    assert set(rows(tmp_path / "out")["error_code"].to_pylist()) <= {"image_missing", "image_fetch_failed"}
