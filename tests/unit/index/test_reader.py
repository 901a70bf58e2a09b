"""An opened index: rows, vectors, thumbnails by position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.indexes import ann_of, random_vectors, thumbnail, write_index
from vqa_ray.errors import RequestError, RunError


@pytest.mark.parametrize("files", [1, 3])
def test_positions_are_the_same_everywhere(tmp_path: Path, files: int) -> None:
    embeddings = random_vectors(20, 6, vectors=2)
    pictures = [thumbnail((number, 0, 0)) for number in range(20)]
    columns = {"thumbnail": pictures, "category": [f"c{n}" for n in range(20)]}
    index = write_index(tmp_path / "i", embeddings, vectors=2, files=files, failed=[0, 9, 19], columns=columns)
    assert (len(index), index.version.ok, index.version.width) == (20, 17, 12)
    rows = index.rows()
    assert "embedding" not in rows.column_names
    assert "thumbnail" not in rows.column_names
    assert rows["row_id"].to_pylist() == list(range(20))
    vectors, positions = index.vectors()
    assert positions.tolist() == [row for row in range(20) if row not in (0, 9, 19)]
    assert np.array_equal(vectors, embeddings[positions])
    asked = [19, 3, 3, 0, 11]
    assert index.thumbnails(asked) == [pictures[row] for row in asked]
    assert index.take(asked, ["category", "row_id"]).to_pydict() == {
        "category": [f"c{row}" for row in asked],
        "row_id": asked,
    }
    assert index.take([], ["row_id"]).num_rows == 0
    with pytest.raises(IndexError, match="of an index of 20 rows"):
        index.take([20], ["row_id"])


def test_an_unknown_column_is_refused_with_those_there_are(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i", random_vectors(3, 4), columns={"price": [1.0, 2.0, 3.0]})
    with pytest.raises(RequestError, match=r"no column 'colour'; the columns are: row_id, .*source_key, price"):
        index.rows(["row_id", "colour"])


def test_an_empty_index_has_columns_and_no_rows(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i", random_vectors(0, 4))
    assert index.rows().num_rows == 0
    assert index.vectors()[0].shape == (0, 4)
    assert index.thumbnails([]) == []
    assert ann_of(index) is None


def test_files_that_hold_other_vectors_than_the_version_says(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i", random_vectors(4, 4), files=1)
    other = write_index(tmp_path / "o", random_vectors(4, 4), files=1, failed=[1])
    Path(index.file_uri(index.version.files[0])).write_bytes(Path(other.file_uri(other.version.files[0])).read_bytes())
    with pytest.raises(RunError, match="has 3 vectors; the index expects 4"):
        index.vectors()
