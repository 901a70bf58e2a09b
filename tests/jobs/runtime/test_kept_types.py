from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_ray.jobs.runtime.job import open_input
from vqa_ray.jobs.runtime.kept_types import with_index_types
from vqa_ray.jobs.spec.images import CaptionSpec
from vqa_ray.readers import read_shard
from vqa_ray.readers.source import Source
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import written_name


def opened(place: Path) -> Source:
    spec = CaptionSpec(input=str(place / "in"), output=str(place / "out"), model="fake:", keep=["k", "n"])
    return open_input(spec, (), needs_question=False)


def types(source: Source) -> dict[str, pa.DataType]:
    return {written_name(field.name): field.type for field in source.passthrough}


def test_a_run_that_goes_on_keeps_the_types_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, values in (("a", pa.array([1], pa.int32())), ("b", pa.array([2**40, 5], pa.int64()))):
        table = pa.table({"image": [b"i"] * len(values), "k": values, "n": [0.5] * len(values)})
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet")
    assert types(opened(tmp_path)) == {"k": pa.int64(), "n": pa.float64()}
    output = tmp_path / "out"
    output.mkdir()
    pq.write_table(pa.table({"k": pa.array([1], pa.int32())}), output / "part-1.parquet")
    # Not yet a run: what lies there is refused elsewhere.
    assert types(opened(tmp_path))["k"] == pa.int64()
    model = {"reference": "fake:", "family": "fake", "fingerprint": "x", "score_meaning": "x"}
    known = {"uri": str(tmp_path / "in"), "format": "parquet", "fingerprint": "x", "shards": 2, "rows": 3}
    record = RunRecord("r", "caption", "2026-01-01T00:00:00Z", {}, model, known, {})
    record.write(RunDirectory(str(output)).record)
    (output / "part-0.parquet").write_bytes(b"PAR1 cut off")
    source = opened(tmp_path)
    assert types(source) == {"k": pa.int32(), "n": pa.float64()}
    rows = [row for shard in source.shards for table in read_shard(source, shard) for row in table.to_pylist()]
    name = source.passthrough[0].name
    assert [row[name] for row in rows] == [1, None, 5]
    assert [row["error_code"] for row in rows] == [None, "row_malformed", None]


def test_an_index_keeps_the_types_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, values in (("a", pa.array([1], pa.int32())), ("b", pa.array([2**40], pa.int64()))):
        pq.write_table(pa.table({"image": [b"i"], "k": values, "n": ["x"]}), tmp_path / "in" / f"{name}.parquet")
    source = opened(tmp_path)
    index = pa.schema([("k", pa.int32()), ("n", pa.float64())])
    # Another kind is for the check to refuse.
    assert types(with_index_types(source, index)) == {"k": pa.int32(), "n": pa.string()}
    assert types(with_index_types(source, pa.schema([]))) == {"k": pa.int64(), "n": pa.string()}
