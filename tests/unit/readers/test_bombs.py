"""Small files that stand for gigabytes: each ends as a row in error, within seconds and little memory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.unit.readers.inputs import read
from vqa_ray.readers import expansion

MIB = 2**20
# Python, Arrow and what is read at once take 250 MiB.
MOST_MIB = 600
ROW = json.dumps({"image_uri": "a.jpg", "question": "q", "image_id": "1"}).encode() + b"\n"

_READ = """
import json, sys
from vqa_ray.readers import InputConfig, open_source, read_shard
source = open_source(InputConfig(sys.argv[1], questions=("q",)))
count, last = 0, {}
for table in (table for shard in source.shards for table in read_shard(source, shard)):
    count += table.num_rows
    last = table.slice(table.num_rows - 1).to_pylist()[0]
# The peak of this program alone: that of getrusage is at least the memory of the process that started it.
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))
print(json.dumps([peak, count, last["error_code"], last["error_message"]]))
"""


def read_alone(path: Path) -> tuple[int, int, str | None, str | None]:
    """Read an input in a process of its own: peak MiB, rows, the last row's error."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    peak, count, code, message = json.loads(done.stdout)
    return peak, count, code, message


def compressed(codec: str, data: bytes) -> bytes:
    if codec == "zstd":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return bytes(sink.getvalue())
    return {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[codec](data)


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_text_that_expands_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, name: str) -> None:
    head = ROW * 3 if name == "a.jsonl" else b"image_uri,question\na.jpg,q\nb.jpg,q\nc.jpg,q\n"
    (tmp_path / name).write_bytes(compressed(codec, head + b"0" * 32 * MIB))
    monkeypatch.setattr(expansion, "_UNQUESTIONED_BYTES", MIB)
    monkeypatch.setattr(expansion, "MAX_RATIO", 100)
    rows = read(tmp_path / name)
    assert [row["error_code"] for row in rows] == [None, None, None, "row_malformed"]
    assert "times are read: if it is sound, decompress it" in rows[-1]["error_message"]


def test_text_that_repeats_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(ROW * 20_000))
    assert len(read(tmp_path / "a.jsonl.gz")) == 20_000


@pytest.mark.parametrize("suffix", ["jpg", "bin"])
def test_a_tar_of_20_gigabytes(tmp_path: Path, suffix: str) -> None:
    photo, bomb = tarfile.TarInfo("a.jpg"), tarfile.TarInfo(f"b.{suffix}")
    photo.size, bomb.size = 512, 20 * 2**30
    gigabyte = b"".join(gzip.compress(b"\0" * 2**26) for _ in range(16))
    with (tmp_path / "a.tar.gz").open("wb") as file:
        head = photo.tobuf() + b"\xff\xd8\xff".ljust(512) + bomb.tobuf(tarfile.GNU_FORMAT)
        file.write(gzip.compress(head) + gigabyte * 20)
    peak, _, code, message = read_alone(tmp_path / "a.tar.gz")
    assert (code, "if it is sound, decompress it" in str(message)) == ("row_malformed", True)
    assert peak < MOST_MIB


def test_a_parquet_dictionary_that_every_row_repeats(tmp_path: Path) -> None:
    once = pa.array([b"\xff\xd8\xff".ljust(8 * MIB)])
    images = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), once)
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"image": images}), path, compression="zstd", dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 100_000
    peak, count, code, _ = read_alone(path)
    assert (count, code) == (200, None)
    assert peak < MOST_MIB
