from __future__ import annotations

from pathlib import Path

from tests.unit.readers.inputs import write_parquet
from vqa_ray.judging.record_table import open_records
from vqa_ray.readers import InputConfig


def test_columns_may_be_called_as_those_of_a_reader_are(tmp_path: Path) -> None:
    columns = {"image_id": ["a", "b"], "answer": ["x", "y"], "status": ["new", "old"], "error_code": [1, 2]}
    file = write_parquet(tmp_path / "a.parquet", columns)
    table = open_records(InputConfig(str(file)), ["answer", "status", "error_code"])
    assert table.columns == ("answer", "status", "error_code")
    (rows,) = (part for task in range(table.tasks) for part in table.tables(task))
    assert rows.select(["image_id", "answer", "status", "error_code"]).to_pydict() == columns
    assert rows["malformed"].null_count == 2
