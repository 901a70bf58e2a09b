"""A training goes on with the rows that it began with, whatever comes to its inputs; checked without training."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import table
from vqa_ray.errors import RequestError
from vqa_ray.jobs.finetune.command import run
from vqa_ray.jobs.finetune.request import TrainingRequest, open_request
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord


def write(path: Path, first: int) -> None:
    rows = table(8, first=first)
    pq.write_table(rows.append_column("answer", rows["colour"]), path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in", "held"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.parquet", 0)
    return tmp_path


def opened(**options: str) -> TrainingRequest:
    given = {"input": "in", "output": "out", "validation": "held", "model": "scratch", "batch_size": 4, **options}
    return open_request(FinetuneSpec.model_validate(given))


def admit(request: TrainingRequest) -> tuple[RunRecord, bool]:
    layout = RunDirectory(request.spec.output)
    return guard.claim_output(layout, request.record, request.listings(layout))


def test_what_is_added_to_either_input_is_left_out(place: Path) -> None:
    first = opened()
    assert admit(first)[1]
    write(place / "in" / "b.parquet", 8)
    write(place / "held" / "0.parquet", 8)
    os.utime(place / "in" / "a.parquet", (1, 1))
    again = opened(input="./in/", validation=f"file://{place}/held", output="out/")
    assert admit(again) == (admit(first)[0], False)
    assert again.train.source.shards == first.train.source.shards
    assert again.validation.source.shards == first.validation.source.shards
    assert "1 file was added (b.parquet)" in str(again.train.source.drift)


@pytest.mark.parametrize("name", ["in", "held"])
def test_what_has_changed_is_refused_by_name(place: Path, name: str) -> None:
    admit(opened())
    write(place / name / "a.parquet", 100)
    pq.write_table(pq.read_table(place / name / "a.parquet").slice(1), place / name / "a.parquet")
    told = rf"{name}: .*\(a\.parquet: .*put it back as it was, or use another"
    with pytest.raises(RequestError, match=told):
        run(opened().spec)


def test_a_training_of_d8ecede_goes_on(place: Path) -> None:
    for path in (place / "in" / "a.parquet", place / "held" / "a.parquet"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    first = opened()
    record, _ = admit(first)
    layout = RunDirectory("out")
    for uri in first.listings(layout):
        Path(uri).unlink()
    known = {name: value for name, value in record.input.items() if name != "place"}
    fields = {name: getattr(record, name) for name in RunRecord.__dataclass_fields__}
    command = {**record.command, "input": "in", "validation": "held"}
    RunRecord(**{**fields, "command": command, "input": known}).write(layout.record)
    for name in ("in", "held"):
        write(place / name / "b.parquet", 8)
        os.utime(place / name / "b.parquet", (4_000_000_000, 4_000_000_000))
    again = opened(input="./in")
    assert not admit(again)[1]
    assert again.validation.source.shards == first.validation.source.shards
