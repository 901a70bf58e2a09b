"""Files of a run that are damaged are named in one line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.runs import manifest
from vqa_ray.runs.part_files import read_columns, row_count
from vqa_ray.runs.publication import Publication


@pytest.mark.parametrize("content", ["{", "", "[1]", "null", "\x00\x01"])
def test_a_damaged_manifest_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RequestError, match=r"manifest\.json: is damaged: .*; delete it and run the command"):
        manifest.read(str(tmp_path / "manifest.json"))


def test_a_part_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    pq.write_table(pa.table({"row_id": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-100])
    for read in (read_columns, row_count):
        with pytest.raises(RequestError, match=r"part-0\.parquet: is damaged"):
            read(str(path))


@pytest.mark.parametrize(
    "content", ["{", "", "[1]", "null", '{"format": 1}', '{"format": 1, "attempt": "a", "files": [1]}']
)
def test_a_damaged_journal_of_an_update_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "publication.json").write_text(content)
    with pytest.raises(RequestError, match=r"publication\.json: is damaged: .*an update"):
        Publication.read(str(tmp_path / "publication.json"))
