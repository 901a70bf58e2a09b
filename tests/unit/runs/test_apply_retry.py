"""Whether the rows of a later attempt take the places of the failed ones, and only theirs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.runs import apply_retry as merging
from vqa_ray.runs.apply_retry import apply_retry, replaced

SCHEMA = pa.schema(
    [("answer", pa.string()), pa.field("attempt", pa.int32(), nullable=False), ("source_key", pa.int64())],
    metadata={"vqa_ray": "{}"},
)


def table(rows: list[tuple[str, int, int]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


FIRST = table([("a", 1, 0), ("error", 1, 1), ("c", 1, 2), ("error", 1, 7)])
SECOND = table([("seven", 2, 7), ("one", 2, 1), ("stranger", 2, 99)])


def test_rows_keep_their_places_and_the_schema_stays() -> None:
    result = replaced(FIRST, SECOND, 2)
    assert result["answer"].to_pylist() == ["a", "one", "c", "seven"]
    assert result["source_key"].to_pylist() == [0, 1, 2, 7]
    assert result.schema.equals(SCHEMA, check_metadata=True)


def test_doing_it_twice_changes_nothing() -> None:
    once = replaced(FIRST, SECOND, 2)
    assert replaced(once, SECOND, 2) is None


def test_files_without_such_rows_are_not_touched(tmp_path) -> None:
    for name, rows in {"p1": FIRST, "p2": table([("x", 1, 20)]), "again": SECOND}.items():
        pq.write_table(rows, tmp_path / f"{name}.parquet")
    untouched = (tmp_path / "p2.parquet").stat()
    parts = [str(tmp_path / "p1.parquet"), str(tmp_path / "p2.parquet")]
    assert apply_retry(parts, [str(tmp_path / "again.parquet")], 2) == 1
    assert (tmp_path / "p2.parquet").stat().st_mtime_ns == untouched.st_mtime_ns
    assert pq.read_schema(parts[0]).metadata[b"vqa_ray"] == b"{}"
    assert apply_retry(parts, [str(tmp_path / "again.parquet")], 2) == 0


def test_death_in_the_middle_is_mended_by_doing_it_again(tmp_path, monkeypatch) -> None:
    again = tmp_path / "again.parquet"
    pq.write_table(table([("new0", 2, 0), ("new1", 2, 1)]), again)
    parts = [str(tmp_path / f"p{i}.parquet") for i in range(2)]
    for i, uri in enumerate(parts):
        pq.write_table(table([("error", 1, i)]), uri)
    real = merging.write_table_atomic

    def dies_at_the_second(uri: str, merged: pa.Table) -> None:
        if uri == parts[1]:
            raise KeyboardInterrupt
        real(uri, merged)

    monkeypatch.setattr(merging, "write_table_atomic", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        apply_retry(parts, [str(again)], 2)
    assert [pq.read_table(uri)["answer"].to_pylist() for uri in parts] == [["new0"], ["error"]]
    monkeypatch.undo()
    assert apply_retry(parts, [str(again)], 2) == 1
    assert [pq.read_table(uri)["answer"].to_pylist() for uri in parts] == [["new0"], ["new1"]]
