"""Search of an index from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vqa_ray
from tests.helpers.coloured import COLOURS, NAMES
from tests.helpers.indexes import FAKE_MODEL, write_index
from vqa_ray import RequestError
from vqa_ray.models.checkpoint.opened import Checkpoint


@pytest.fixture
def index(tmp_path: Path) -> vqa_ray.ImageIndex:
    images = [np.full((30, 40, 3), COLOURS[name], np.uint8) for name in NAMES]
    vectors = np.stack(vqa_ray.load("fake:").embed(images, errors="raise"))
    model = {**FAKE_MODEL, "fingerprint": Checkpoint.open("fake:").fingerprint}
    write_index(tmp_path / "index", vectors, columns={"colour": list(NAMES)}, model=model)
    return vqa_ray.open_index(str(tmp_path / "index"))


def test_text_and_images_find_images(index: vqa_ray.ImageIndex) -> None:
    hits = index.search("a green picture", top_k=2)
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].row["colour"] == "green"
    assert hits[0].score > hits[1].score
    by_image = index.search(image=np.full((10, 10, 3), COLOURS["blue"], np.uint8))
    assert [hit.row["colour"] for hit in by_image[:1]] == ["blue"]
    assert len(by_image) == len(index) == 4


def test_hits_are_a_table_too(index: vqa_ray.ImageIndex) -> None:
    hits = index.search("red", filter="colour in ('green', 'blue')")
    assert hits.images == 2
    assert set(hits.to_arrow()["colour"].to_pylist()) == {"green", "blue"}
    assert hits.to_pandas()["rank"].tolist() == [1, 2]
    assert repr(hits).startswith("2 hits of 2 images\n  Hit(rank=1, score=")
    assert "colour" in index.columns
    assert index.to_arrow().num_rows == 4
    assert "images=4" in repr(index)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "nothing to search for"),
        ({"text": " "}, "nothing to search for"),
        ({"text": "red", "top_k": 0}, "top_k is 0"),
        ({"text": "red", "filter": "color = 1"}, "no column color"),
        ({"image": b"no image"}, "image_undecodable"),
        ({"image": "/nowhere.png"}, "image_missing"),
        ({"image": 7}, "image is a int"),
    ],
)
def test_a_wrong_query_is_refused(index: vqa_ray.ImageIndex, query: dict[str, object], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        index.search(**query)  # type: ignore[arg-type]


def test_a_place_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no index"):
        vqa_ray.open_index(str(tmp_path))
