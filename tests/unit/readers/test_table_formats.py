"""Directories of table formats: only the current files of a Delta table are read, other formats are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.readers.inputs import read, refused, write_parquet


def delta(root: Path, *commits: list[dict[str, Any]], first: int = 0) -> Path:
    for i in range(4):
        write_parquet(root / f"part {i}.parquet", {"image": [b"%d" % i]})
    (root / "_delta_log").mkdir(exist_ok=True)
    for version, actions in enumerate(commits, first):
        (root / "_delta_log" / f"{version:020}.json").write_text("\n".join(map(json.dumps, actions)))
    return root


def add(i: int, **more: Any) -> dict[str, Any]:
    return {"add": {"path": f"part%20{i}.parquet", **more}}


def remove(i: int) -> dict[str, Any]:
    return {"remove": {"path": f"part%20{i}.parquet"}}


def images(uri: str | Path) -> list[bytes]:
    return [row["image"] for row in read(uri, needs_question=False)]


def test_the_log_of_a_delta_table_is_heeded(tmp_path: Path) -> None:
    delta(tmp_path / "t", [add(0), add(1)], [remove(0), add(2)])
    assert images(tmp_path / "t") == [b"1", b"2"]
    assert images(tmp_path) == [b"1", b"2"]
    assert images(tmp_path / "t" / "*.parquet") == [b"1", b"2"]


def test_a_log_that_begins_later_removes_files(tmp_path: Path) -> None:
    assert images(delta(tmp_path, [remove(0)], first=1)) == [b"1", b"2", b"3"]


def test_checkpoints_are_read(tmp_path: Path) -> None:
    delta(tmp_path, [remove(1), add(3)], first=11)
    rows = [{"add": {"path": f"part%20{i}.parquet"}} for i in (0, 1)]
    write_parquet(tmp_path / "_delta_log" / f"{10:020}.checkpoint.parquet", pa.Table.from_pylist(rows))
    assert images(tmp_path) == [b"0", b"3"]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (add(0, deletionVector={"storageType": "u"}), "deletion vectors, which are not read; purge them"),
        ({"metaData": {"configuration": {"delta.columnMapping.mode": "name"}}}, "column mapping"),
        ({"protocol": {"readerFeatures": ["catalogManaged"]}}, "needs a reader with catalogManaged"),
        (add(9), "names files that are not there, for example part 9.parquet"),
        ({"add": {"path": "s3://b/x.parquet"}}, "files in other places, for example s3://b/x.parquet"),
    ],
)
def test_what_a_delta_table_needs_more_is_refused_by_name(tmp_path: Path, action: dict[str, Any], message: str) -> None:
    assert message in refused(delta(tmp_path, [action]), needs_question=False)


def test_a_gap_in_the_log_is_refused(tmp_path: Path) -> None:
    delta(tmp_path, [add(0)], [add(1)], [add(2)])
    (tmp_path / "_delta_log" / f"{1:020}.json").unlink()
    assert "commits are missing from the Delta log" in refused(tmp_path, needs_question=False)


def test_iceberg_and_hudi_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "i/data/a.parquet", {"image": [b"x"]})
    write_parquet(tmp_path / "h/a.parquet", {"image": [b"x"]})
    for name in ("i/metadata/v1.metadata.json", "h/.hoodie/hoodie.properties"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("{}")
    assert "is an Iceberg table" in refused(tmp_path / "i", needs_question=False)
    assert "is a Hudi table" in refused(tmp_path / "h", needs_question=False)


def test_lines_of_a_log_end_at_line_ends_alone(tmp_path: Path) -> None:
    delta(tmp_path, [add(0)])
    log = tmp_path / "_delta_log" / f"{0:020}.json"
    log.write_text(json.dumps(add(1, tags={"note": "two\u2028lines\x85"}), ensure_ascii=False), "utf-8")
    assert images(tmp_path) == [b"1"]


@pytest.mark.parametrize("line", [b'{"add": ', b"caf\xe9", b"[" * 100_000])
def test_a_log_that_cannot_be_read_is_refused(tmp_path: Path, line: bytes) -> None:
    delta(tmp_path, [add(0)])
    (tmp_path / "_delta_log" / f"{0:020}.json").write_bytes(line)
    assert "the Delta log cannot be read: " in refused(tmp_path, needs_question=False)
