"""Small inputs in every format, and a reader of all rows that holds the promises of every source."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, Source, open_source, read_shard

Rows = list[dict[str, Any]]


def open_at(uri: str | Path, **options: Any) -> Source:
    return open_source(InputConfig(uri=str(uri), **options))


def rows_of(source: Source) -> Rows:
    """All rows; schema, sizes and the numbering of source keys are checked on the way."""
    rows: Rows = []
    for index, shard in enumerate(source.shards):
        assert shard.index == index
        number = 0
        for table in read_shard(source.for_workers(), shard):
            assert table.schema.equals(schema.with_kept(schema.READ, source.passthrough))
            table.validate(full=True)
            assert 0 < table.num_rows <= 256
            for row in table.to_pylist():
                assert row["source_key"] == (index << schema.ROW_BITS) + number
                assert (
                    (row["status"] == "error") == (row["error_code"] is not None) == (row["error_message"] is not None)
                )
                number += 1
                rows.append(row)
        assert shard.rows is None or number <= shard.rows
    assert len({row["source_key"] for row in rows}) == len(rows)
    return rows


def read(uri: str | Path, **options: Any) -> Rows:
    return rows_of(open_at(uri, **options))


def refused(uri: str | Path, **options: Any) -> str:
    """The message with which the input is refused."""
    with pytest.raises(RequestError) as caught:
        open_at(uri, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def errors(rows: Rows) -> list[tuple[str, str] | None]:
    return [(row["error_code"], row["error_message"]) if row["status"] == "error" else None for row in rows]


def write_parquet(path: Path, columns: pa.Table | Mapping[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    parquet.write_table(table, path, **options)
    return path


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return path


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> Path:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(names)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.getvalue().encode())
    return path


def tar_bytes(members: Iterable[tuple[str, bytes]], mode: Any = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return data.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: Any = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members, mode))
    return path


def asked(question: str, **more: Any) -> bytes:
    return json.dumps({"question": question, **more}).encode()
