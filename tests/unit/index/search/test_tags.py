"""Which tagged row belongs to which image of an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.tag_runs import write_tag_run
from vqa_ray.errors import RequestError
from vqa_ray.index.search.tags import join_tags


def index_of(*rows: tuple[int, str | None], **more: Sequence[Any]) -> pa.Table:
    ids = pa.array([row[0] for row in rows], pa.int64())
    return pa.table({"row_id": ids, "image_id": pa.array([row[1] for row in rows], pa.string()), **more})


def test_rows_are_joined_by_row_id_then_by_image_id(tmp_path: Path) -> None:
    run = write_tag_run(
        tmp_path,
        [
            {"row_id": 1, "image_id": "a.jpg", "category": "mug", "tags": ["mug", "red"], "shop": "north"},
            {"row_id": 2, "image_id": None, "category": "hat"},
            {"row_id": 3, "image_id": "c.jpg", "category": "shoe", "colours": ["red", "blue"]},
        ],
    )
    rows = index_of((2, "b.jpg"), (1, "a.jpg"), (77, "c.jpg"), (3, "another.jpg"), (78, None), (79, "unknown.jpg"))
    found = join_tags(rows, run)
    assert found.columns.column_names == ["tags", "category", "category_score", "colours", "colours_score", "shop"]
    # By row_id; by row_id; by image_id; another image under a row_id that is taken; nothing known.
    assert found.columns["category"].to_pylist() == ["hat", "mug", "shoe", None, None, None]
    assert found.columns["colours"].to_pylist()[2] == ["red", "blue"]
    assert found.columns["tags"].to_pylist()[1] == ["mug", "red"]
    assert found.matched == 3


def test_a_name_that_the_index_has_gets_a_prefix(tmp_path: Path) -> None:
    run = write_tag_run(tmp_path, [{"row_id": 1, "category": "mug", "shop": "north"}])
    found = join_tags(index_of((1, None), category=["its own"], shop=["south"]), run)
    assert found.columns["tag_category"].to_pylist() == ["mug"]
    assert found.columns["tag_shop"].to_pylist() == ["north"]


def test_an_image_tagged_twice_takes_the_first(tmp_path: Path) -> None:
    run = write_tag_run(tmp_path, [{"row_id": 1, "category": "mug"}, {"row_id": 1, "category": "hat"}])
    assert join_tags(index_of((1, "a"), (1, "a")), run).columns["category"].to_pylist() == ["mug", "mug"]


@pytest.mark.parametrize(
    ("job", "finished", "said"), [("answer", True, "found a run of answer"), ("tag", False, "found one that has not")]
)
def test_what_is_no_finished_tag_run_is_refused(tmp_path: Path, job: str, finished: bool, said: str) -> None:
    run = write_tag_run(tmp_path, [{"row_id": 1}], job=job, finished=finished)
    with pytest.raises(RequestError, match=f"--tags {run}: expected a finished run of tag, {said}"):
        join_tags(index_of((1, None)), run)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected a finished run of tag, found nothing of the kind"):
        join_tags(index_of((1, None)), str(tmp_path))
    with pytest.raises(RequestError, match="none: no such directory or prefix; expected a finished run of tag"):
        join_tags(index_of((1, None)), str(tmp_path / "none"))
