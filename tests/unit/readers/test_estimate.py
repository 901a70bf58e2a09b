"""The number of rows of an input that only reading tells."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from pathlib import Path

import pytest

from vqa_ray.jobs.runtime.progress import progress_line
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.readers import estimate as estimates
from vqa_ray.readers.estimate import Estimate, estimate_rows
from vqa_ray.readers.source import Source


def opened(path: Path) -> Source:
    return open_source(InputConfig(uri=str(path), questions=("what?",), needs_question=True))


def lines(rows: int) -> bytes:
    numbers = random.Random(0)
    return b"".join(
        json.dumps({"image": f"{n}.jpg", "note": numbers.randbytes(numbers.randrange(60)).hex()}).encode() + b"\n"
        for n in range(rows)
    )


def test_small_files_are_counted(tmp_path: Path) -> None:
    for name, rows in (("a", 30), ("b", 50)):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(rows))
    assert estimate_rows(opened(tmp_path)) == Estimate(80, is_exact=True)


def test_a_line_break_within_a_cell_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('image,note\na.jpg,"one\ntwo"\nb.jpg,three\n')
    assert estimate_rows(opened(tmp_path / "a.csv")) == Estimate(2, is_exact=True)


@pytest.mark.parametrize("packed", [False, True])
def test_large_files_are_estimated(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "_BYTES_PER_FILE", 2**20 + 2**19)
    data = lines(60_000)
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    found = estimate_rows(opened(path))
    assert found is not None
    assert not found.is_exact
    assert 48_000 < found.rows < 72_000


def test_images_of_tars_are_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(20):
            for suffix in ("jpg", "txt"):
                header = tarfile.TarInfo(f"{number:03}.{suffix}")
                header.size = 5
                tar.addfile(header, io.BytesIO(b"bytes"))
    assert estimate_rows(opened(tmp_path)) == Estimate(20, is_exact=True)


def test_what_is_known_is_not_estimated(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    assert estimate_rows(opened(tmp_path)) is None


def test_a_file_that_breaks_off_at_once_gives_no_estimate(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(lines(20_000), 1)
    path.write_bytes(whole)
    source = opened(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert estimate_rows(source) is None


def test_an_estimate_is_marked() -> None:
    assert (
        progress_line(300, 12_345, 100.0, is_estimate=True)
        == "300 of about 12,000 rows (2%), 100.0 rows/s, about 2 min 00 s left"
    )
    assert progress_line(12_400, 12_345, 100.0, is_estimate=True) == "12,400 rows, 100.0 rows/s"
    assert progress_line(300, 12_345, 100.0).startswith("300 of 12,345 rows")
