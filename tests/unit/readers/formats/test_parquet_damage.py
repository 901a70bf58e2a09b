"""Parquet files that are cut off, damaged, replaced while being read, or made of huge row groups."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.readers.inputs import open_at, read, rows_of, write_parquet
from vqa_ray.errors import RunError
from vqa_ray.readers import read_shard


def test_a_file_without_a_footer_is_one_row(tmp_path: Path) -> None:
    good = write_parquet(tmp_path / "a.parquet", {"image": [b"i"], "question": ["q"]})
    (tmp_path / "b.parquet").write_bytes(good.read_bytes()[:-20])
    source = open_at(tmp_path, keep=())
    rows = rows_of(source)
    assert source.total_rows == 2
    assert rows[1]["error_code"] == "row_malformed"
    assert rows[1]["error_message"].startswith(
        "shard b.parquet cannot be read past row 0: Parquet magic bytes not found in footer."
    )
    (tmp_path / "a.parquet").unlink()
    assert [row["error_code"] for row in read(tmp_path)] == ["row_malformed"]


@pytest.mark.parametrize("codec", ["snappy", "zstd", "none"])
def test_rows_before_the_damage_are_kept(tmp_path: Path, codec: str) -> None:
    noise = random.Random(7)
    images = [noise.randbytes(4_000) for _ in range(300)]
    file = write_parquet(
        tmp_path / "a.parquet",
        {"image": images, "question": ["q"] * 300},
        row_group_size=100,
        compression=codec,
        data_page_size=20_000,
        use_dictionary=False,
        write_page_checksum=True,
        write_batch_size=1,
    )
    data = bytearray(file.read_bytes())
    at = data.index(images[150]) + 5
    data[at : at + 3_000] = bytes(3_000)
    file.write_bytes(data)
    rows = read(file)
    assert [row["image"] for row in rows[:-1]] == images[: len(rows) - 1]
    assert 140 <= len(rows) - 1 <= 150
    assert rows[-1]["error_code"] == "row_malformed"
    assert rows[-1]["error_message"].startswith(f"shard a.parquet cannot be read past row {len(rows) - 1}: ")

    source = open_at(file)
    (last,) = [
        row
        for shard in source.shards
        for table in read_shard(source, shard, {len(rows) - 1})
        for row in table.to_pylist()
    ]
    assert last == rows[-1]


def test_a_file_that_was_replaced_stops_the_run(tmp_path: Path) -> None:
    columns = {"image": [b"i"] * 20, "question": ["q"] * 20}
    file = write_parquet(tmp_path / "a.parquet", columns, row_group_size=10)
    source = open_at(file)
    write_parquet(file, columns, row_group_size=20)
    with pytest.raises(RunError, match=r"a\.parquet: the file changed after the run listed it"):
        list(read_shard(source, source.shards[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_row_group_of_any_size_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """192 MiB in one row group of small pages; in a process of its own, because a peak never goes down again."""
    file = tmp_path / "a.parquet"
    images = pa.array([random.Random(1).randbytes(2**20)] * 192, pa.binary())
    columns = {"image": images, "question": ["q"] * 192}
    write_parquet(file, columns, compression="none", use_dictionary=False, write_batch_size=4)
    script = f"""
        from pathlib import Path
        from vqa_ray.readers import InputConfig, open_source, read_shard
        def peak_kib():
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        source = open_source(InputConfig(uri={str(file)!r}))
        before = peak_kib()
        assert sum(t.num_rows for s in source.shards for t in read_shard(source, s)) == 192
        print(peak_kib() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 * 1024
