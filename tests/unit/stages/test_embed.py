"""The embedding stage: rows in are rows out, and every vector that is written has length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from tests.unit.stages.test_answer import BLUE, RED, decoded
from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.models.fake.encoder import FakeEncoder
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.types import Image

FAKE = ModelOptions("fake:")
PRICE = pa.field("price", pa.float64())
GREEN = (30, 160, 60)


def table(rows: Sequence[dict[str, object]]) -> pa.Table:
    """A DECODED table with `price` and the columns of `DescribeImages`."""
    described = [
        pa.field("sha256", pa.string()),
        pa.field("thumbnail", pa.binary()),
    ]
    plain = {"source_height": 40, "source_width": 80, "sha256": "ab", "thumbnail": b"jpeg", "price": 1.5}
    return decoded([plain | row for row in rows], [PRICE, *described])


class Encoder:
    """Gives each image two vectors in the plane, as a function of its red; notes how many images it got."""

    dimension, vectors, score_meaning = 2, 2, "none"

    def __init__(self, broken: npt.ArrayLike = (1.0, 0.0, 0.0, 1.0), fails_on: int | None = None) -> None:
        self.calls: list[int] = []
        self._broken, self._fails_on = broken, fails_on

    def encode_images(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        self.calls.append(len(images))
        if any(image[0, 0, 0] == self._fails_on for image in images):
            raise ValueError("no such red")
        return np.array([self._broken if image[0, 0, 0] == RED[0] else (0.6, 0.8, 1.0, 0.0) for image in images], "f4")

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        raise NotImplementedError


def stage(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> EmbedStage:
    monkeypatch.setattr(ModelOptions, "load_encoder", lambda _: encoder)
    return EmbedStage(EmbedConfig(FAKE))


def test_rows_come_back_in_order_with_their_columns() -> None:
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    rows = [{"image_uri": "a"}, failed | {"source_height": None, "thumbnail": None}, {"colour": BLUE, "price": 2.0}]
    embedded = EmbedStage(EmbedConfig(FAKE), attempt=2)(table(rows))
    assert embedded.schema.equals(schema.with_kept(schema.embedding_schema(1, FakeEncoder.dimension), [PRICE]))
    embedded.validate(full=True)
    assert embedded["row_id"].to_pylist() == [0, 1, 2]
    assert embedded["image_uri"].to_pylist() == ["a", None, None]
    assert embedded["error_code"].to_pylist() == [None, "image_missing", None]
    assert embedded["attempt"].to_pylist() == [2, 2, 2]
    assert embedded["price"].to_pylist() == [1.5, 1.5, 2.0]
    # Of the source, not of the model's pixels.
    assert embedded["height"].to_pylist() == [40, None, 40]
    assert embedded["width"].to_pylist() == [80, 80, 80]
    assert embedded["thumbnail"].to_pylist() == [b"jpeg", None, b"jpeg"]
    wanted = FakeEncoder().encode_images([np.full((8, 8, 3), colour, np.uint8) for colour in (RED, BLUE)])
    vectors = embedded["embedding"].to_pylist()
    assert vectors[1] is None
    np.testing.assert_array_equal(np.array([vectors[0], vectors[2]], np.float32), wanted)


def test_an_image_that_several_rows_show_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder()
    embedded = stage(monkeypatch, encoder)(table([{}, {"colour": BLUE}, {}, {"image_key": None}]))
    assert encoder.calls == [3]
    assert embedded["embedding"].type == pa.list_(pa.float32(), 4)
    rounded = [[round(value, 4) for value in vector] for vector in embedded["embedding"].to_pylist()]
    assert rounded == [[1, 0, 0, 1], [0.6, 0.8, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ([1.0, 0.0, np.nan, 0.0], "that is not finite"),
        ([np.inf, 0.0, 1.0, 0.0], "that is not finite"),
        ([1.0, 0.0, 0.0, 0.0], "of length 0 of"),
        ([0.0, 0.0, 0.0, 0.0], "of length 0 of"),
        ([2.0, 0.0, 1.0, 0.0], "of length 2 of"),
    ],
)
def test_a_vector_that_is_none_is_an_error_row_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch, broken: list[float], told: str
) -> None:
    encoder = Encoder(broken)
    embedded = stage(monkeypatch, encoder)(table([{"colour": BLUE}, {}, {"colour": GREEN}, {}]))
    assert embedded["status"].to_pylist() == ["ok", "error", "ok", "error"]
    assert embedded["error_code"].to_pylist() == [None, "model_error", None, "model_error"]
    assert told in embedded["error_message"][1].as_py()
    assert [vector is None for vector in embedded["embedding"].to_pylist()] == [False, True, False, True]
    assert embedded["sha256"].to_pylist() == ["ab"] * 4
    assert encoder.calls == [3]


def test_a_batch_that_fails_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(fails_on=RED[0])
    embedded = stage(monkeypatch, encoder)(table([{"colour": BLUE}, {}, {"colour": GREEN}, {"colour": BLUE}]))
    assert embedded["error_message"].to_pylist() == [None, "ValueError: no such red", None, None]
    assert [vector is None for vector in embedded["embedding"].to_pylist()] == [False, True, False, False]


def test_a_batch_without_images_does_not_reach_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder()
    failed = {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}
    embedded = stage(monkeypatch, encoder)(table([failed, failed]))
    assert encoder.calls == []
    assert embedded["embedding"].null_count == 2
    embedded.validate(full=True)


def test_a_model_that_does_not_embed_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^model fake:boxes: fake does not embed images"):
        EmbedStage(EmbedConfig(ModelOptions("fake:boxes")))
