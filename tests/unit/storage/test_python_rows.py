from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from vqa_ray.storage.python_rows import python_rows

FAR = pa.array([0, 2_932_897, None], pa.date32())


def test_rows_are_those_of_arrow_where_python_holds_them() -> None:
    table = pa.table({"a": [1, 2], "d": pa.array([0, None], pa.date32())})
    assert python_rows(table) == table.to_pylist()
    assert python_rows(table.to_batches()[0]) == table.to_pylist()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (FAR, ["1970-01-01", "10000-01-01", None]),
        (pa.array([0, 1, None], pa.timestamp("us", "Mars/Phobos")), ["1970-01-01 00:00:00.000000", None]),
        (pa.array([0, 10**18, None], pa.timestamp("us")), ["1970-01-01 00:00:00.000000", None]),
        (pa.StructArray.from_arrays([FAR], ["d"]), [{"d": "1970-01-01"}, {"d": None}]),
        (pa.ListArray.from_arrays([0, 2, 3, 3], FAR), [["1970-01-01", "10000-01-01"], []]),
    ],
)
def test_dates_and_times_that_python_lacks_are_text(column: pa.Array, expected: list[object]) -> None:
    table = pa.table({"a": [1, 2, 3], "d": column, "e": pa.array([0, None, 1], pa.date32())})
    rows = python_rows(table)
    assert [row["a"] for row in rows] == [1, 2, 3]
    assert rows[0]["d"] == expected[0]
    assert rows[2]["d"] == expected[-1]
    assert rows[0]["e"] == datetime.date(1970, 1, 1)
