from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.readers.inputs import asked, open_at, rows_of, tar_bytes, write_jsonl, write_parquet
from vqa_ray import schema
from vqa_ray.keys import Keys
from vqa_ray.readers import InputConfig, Source
from vqa_ray.training.data.row_schema import TRAINING_FIELDS
from vqa_ray.training.data.schedule import RowSchedule, ScheduleConfig, ScheduledRows, evaluation_parts
from vqa_ray.training.data.source import open_caption_source
from vqa_ray.training.data.targets import Targets
from vqa_ray.training.stages import read_scheduled as read_planned
from vqa_ray.training.stages.read_scheduled import ReadScheduled, scheduled_reads

SCHEMA = schema.with_kept(schema.READ, TRAINING_FIELDS)
SIZES = (30, 7, 55, 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Shards of 30, 7, 55 and 1 rows; the image of each row is its question."""
    directory = tmp_path_factory.mktemp("shards")
    for name, size in zip("abcd", SIZES, strict=True):
        questions = [f"{name}{row}" for row in range(size)]
        columns = {"image": [question.encode() for question in questions], "question": questions}
        write_parquet(directory / f"{name}.parquet", columns, row_group_size=11)
    return open_at(directory)


def labels_of(keys: Keys) -> tuple[Targets, npt.NDArray[np.int32]]:
    """Row i has i % 4 targets, all of them i, and the classes i and -1."""
    counts = np.arange(len(keys)) % 4
    ids = np.repeat(np.arange(len(keys)), counts).astype(np.int32)
    targets = Targets(np.concatenate([[0], np.cumsum(counts)]), ids, (ids / 1_000).astype(np.float32))
    return targets, np.stack([np.arange(len(keys)), np.full(len(keys), -1)], axis=1).astype(np.int32)


def plan_of(source: Source, window: int, batch_size: int = 8) -> RowSchedule:
    keys = np.array([row["source_key"] for row in rows_of(source)], np.int64)
    targets, classes = labels_of(keys)
    return RowSchedule(keys, targets, ScheduleConfig(batch_size, 1, window), classes)


def read(tasks: list[ReadScheduled]) -> pa.Table:
    tables = []
    for task in tasks:
        found = list(pickle.loads(pickle.dumps(task))())
        assert sum(table.num_rows for table in found) == task.rows
        tables += found
    for table in tables:
        assert table.schema.equals(SCHEMA)
        table.validate(full=True)
        assert 0 < table.num_rows <= 256
    return pa.concat_tables(tables)


def check(table: pa.Table, parts: list[ScheduledRows]) -> None:
    assert table["source_key"].to_pylist() == [key for part in parts for key in part.keys.tolist()]
    assert table["step"].to_pylist() == [step for part in parts for step in part.steps.tolist()]
    for row in table.to_pylist():
        (question,) = row["questions"]
        place = sum(SIZES[: row["source_key"] >> 32]) + (row["source_key"] & 0xFFFFFFFF)
        assert (row["image"], row["status"]) == (question.encode(), "ok")
        assert row["label_ids"] == [place] * (place % 4)
        assert row["label_weights"] == pytest.approx([place / 1_000] * (place % 4))
        assert row["auxiliary"] == [place, -1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(window=st.integers(1, 120), epoch=st.integers(0, 2), skipped=st.integers(0, 9))
def test_rows_come_in_the_order_of_the_plan(source: Source, window: int, epoch: int, skipped: int) -> None:
    plan = plan_of(source, window)
    parts = plan.parts(epoch, epoch * plan.steps_per_epoch + skipped)
    check(read(scheduled_reads(source, parts)) if parts else SCHEMA.empty_table(), parts)


def test_evaluation_reads_all_rows_as_they_are_stored(source: Source) -> None:
    keys = np.array([row["source_key"] for row in rows_of(source)], np.int64)
    parts = evaluation_parts(keys, *labels_of(keys))
    table = read(scheduled_reads(source, parts))
    check(table, parts)
    assert table["source_key"].to_pylist() == keys.tolist()
    assert set(table["step"].to_pylist()) == {0}


def test_references_and_tars_are_read_alike(tmp_path: Path) -> None:
    lines = [{"image_uri": f"/{row}.jpg", "question": f"q{row}"} for row in range(70)]
    write_jsonl(tmp_path / "lines" / "a.jsonl", lines)
    members = [each for row in range(70) for each in ((f"{row}.jpg", b"i"), (f"{row}.json", asked(f"q{row}")))]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    for uri in (tmp_path / "lines", tmp_path / "a.tar"):
        source = open_at(uri)
        plan = plan_of(source, 20)
        table = read(scheduled_reads(source, plan.parts(0)))
        assert table["source_key"].to_pylist() == [key for part in plan.parts(0) for key in part.keys.tolist()]
        assert [row["questions"] for row in table.to_pylist()] == [
            [f"q{row}"] for row in table["source_key"].to_pylist()
        ]


def test_a_task_travels_small(source: Source) -> None:
    plan = plan_of(source, 8)
    tasks = scheduled_reads(source, plan.parts(0))
    assert len(tasks) > 2
    for task in tasks:
        assert task.source.shards == ()
        assert len(task.shards) == len({key >> 32 for key in task.planned.keys.tolist()})
        assert 0 < task.size_bytes <= sum(shard.size_bytes for shard in task.shards)
        assert len(pickle.dumps(task)) < 5_000


def test_rows_that_are_gone_come_back_in_error(source: Source, tmp_path: Path) -> None:
    lines = [{"image_uri": f"{row}.jpg", "question": "q"} for row in range(60)]
    file = write_jsonl(tmp_path / "a.jsonl", lines)
    shrunk = open_at(file)
    parts = plan_of(shrunk, 25).parts(0)
    write_jsonl(file, lines[:40])
    table = read(scheduled_reads(shrunk, parts))
    assert table["source_key"].to_pylist() == [key for part in parts for key in part.keys.tolist()]
    for row in table.to_pylist():
        assert (row["status"] == "error") == (row["source_key"] >= 40)
        if row["status"] == "error":
            assert row["error_code"] == "row_malformed"
            assert row["error_message"] == (
                f"{file}: row {row['source_key']} was there when the rows were listed, and is not now"
            )


def test_rows_missing_in_the_middle_keep_their_place(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_planned.read_shard

    def every_other(source: Source, shard: object, keys: object) -> object:
        for table in whole(source, shard, keys):  # type: ignore[arg-type]
            yield table.filter(pa.array(table["source_key"].to_numpy() % 2 == 0))

    monkeypatch.setattr(read_planned, "read_shard", every_other)
    parts = plan_of(source, 13).parts(0)
    table = pa.concat_tables([each for task in scheduled_reads(source, parts) for each in task()])
    assert table["source_key"].to_pylist() == [key for part in parts for key in part.keys.tolist()]
    assert [row["status"] == "ok" for row in table.to_pylist()] == [
        row["source_key"] % 2 == 0 for row in table.to_pylist()
    ]


def test_tables_and_memory_stay_small(tmp_path: Path) -> None:
    count, size = 160, 2**19
    columns = {"image": [row.to_bytes(4, "little") * (size // 4) for row in range(count)], "question": ["q"] * count}
    file = write_parquet(tmp_path / "a.parquet", columns, row_group_size=8, compression="none", use_dictionary=False)
    del columns
    source = open_at(file)
    keys = np.array([shard.index << 32 | row for shard in source.shards for row in range(shard.rows or 0)])
    targets = Targets(np.arange(count + 1), np.zeros(count, np.int32), np.ones(count, np.float32))
    plan = RowSchedule(keys, targets, ScheduleConfig(8, 0, 32))
    most, before = 0, pa.total_allocated_bytes()
    for task in scheduled_reads(source, plan.parts(0)):
        for table in task():
            assert table["image"].nbytes <= 8 * 2**20 + 4_096
            most = max(most, pa.total_allocated_bytes() - before)
            del table
    # A window of 16 MiB, a table of 8, and two of 16 that the reader made, of which the window has a part; of 80 MiB.
    assert most < 58 * 2**20


def test_captions_stand_where_questions_do(tmp_path: Path) -> None:
    columns = {"image": [b"a", b"b", b"c"], "caption": [["one", "two"], None, ["three"]], "question": ["x"] * 3}
    source = open_caption_source(InputConfig(str(write_parquet(tmp_path / "a.parquet", columns))))
    parts = evaluation_parts(np.arange(3), Targets(np.zeros(4, np.int64), np.array([], np.int32), np.array([], "f4")))
    table = read(scheduled_reads(source.images, parts, source.captions))
    assert table["questions"].to_pylist() == [["one", "two"], [], ["three"]]
    assert table["image"].to_pylist() == [b"a", b"b", b"c"]
