"""Columns of every type that a Parquet file can bring, and the type they are kept as."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa

_UUIDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, b"1" * 16], pa.binary(16)))
_CODES = pa.array(["a", "b"]).dictionary_encode()
_TIMES = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

# Name → (two values, the type they are kept as where it is another than that in the file).
KEPT_COLUMNS: dict[str, tuple[pa.Array, pa.DataType | None]] = {
    "null": (pa.array([None, None]), pa.string()),
    "struct of null": (
        pa.array([{"a": "x", "b": None}] * 2),
        pa.struct([("a", pa.string()), ("b", pa.string())]),
    ),
    "list of null": (pa.array([[None], []]), None),
    "list of struct of null": (
        pa.array([[{"a": None, "b": 1}], []]),
        pa.list_(pa.field("element", pa.struct([("a", pa.string()), ("b", pa.int64())]))),
    ),
    "dictionary": (_CODES, pa.string()),
    "list of dictionary": (pa.ListArray.from_arrays(pa.array([0, 1, 2]), _CODES), None),
    "struct of dictionary": (
        pa.StructArray.from_arrays([_CODES], ["d"]),
        pa.struct([("d", pa.string())]),
    ),
    "large string": (pa.array(["a", None], pa.large_string()), None),
    "large binary": (pa.array([b"a", None], pa.large_binary()), None),
    "large list": (pa.array([[1], None], pa.large_list(pa.int8())), None),
    "fixed list": (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), None),
    "string view": (pa.array(["a", None], pa.string_view()), pa.string()),
    "binary view": (pa.array([b"a", None], pa.binary_view()), pa.binary()),
    "map": (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), None),
    "list of map": (pa.array([[[("a", 1)]], None], pa.list_(pa.map_(pa.string(), pa.int64()))), None),
    "fixed binary": (pa.array([b"ab", None], pa.binary(2)), None),
    "decimal": (pa.array([decimal.Decimal("1.5"), None]), None),
    "decimal256": (pa.array([decimal.Decimal("1.5"), None], pa.decimal256(50, 2)), None),
    "duration": (pa.array([dt.timedelta(1), None]), None),
    "half float": (pa.array([1.5, None], pa.float16()), None),
    "time": (pa.array([dt.time(1), None]), None),
    "time of seconds": (pa.array([1, None], pa.time32("s")), pa.time32("ms")),
    "date of milliseconds": (pa.array([dt.date(2020, 1, 1), None], pa.date64()), pa.date32()),
    "timestamp": (pa.array([_TIMES, None], pa.timestamp("ns", "Europe/Paris")), None),
    "timestamp of seconds": (pa.array([1, None], pa.timestamp("s")), pa.timestamp("ms")),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), None),
    "uuid": (_UUIDS, pa.binary(16)),
    "list of uuid": (pa.ListArray.from_arrays(pa.array([0, 1, 2]), _UUIDS), None),
    "empty strings": (pa.array(["", None]), None),
}
