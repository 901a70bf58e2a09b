"""Images unlike those a model was trained on: told by their pixels, in every answer, and seldom wrongly."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from vqa_ray.catalog.product import sample_product
from vqa_ray.catalog.render import encode, render
from vqa_ray.images.resize import resize
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.fake.model import FakeModel
from vqa_ray.models.familiarity import WARNING, Familiarity, FamiliarityWarnings, image_statistics
from vqa_ray.models.generation.prompts import prompting
from vqa_ray.models.load import ModelOptions
from vqa_ray.types import Image

BUNDLED = "bundled:catalog-vilt"


def product(index: int) -> Image:
    drawn = sample_product(7_000_001, index)
    pixels = np.array(PillowImage.open(io.BytesIO(encode(drawn, render(drawn)))).convert("RGB"))
    return resize(pixels, *Checkpoint.open(BUNDLED).transform.target_size(*pixels.shape[:2]))


def noise(index: int) -> Image:
    """Coarse coloured noise, as rough as no product."""
    return np.random.default_rng(index).integers(0, 256, (112, 112, 3), np.uint8)


def test_the_bundled_model_warns_of_what_is_no_product_and_seldom_of_products() -> None:
    model = ModelOptions(BUNDLED, device="cpu").load()
    images = [*(product(index) for index in range(60)), *(noise(index) for index in range(5))]
    answers = model.answer(images, [["is there a dog?", "what is it?"]] * len(images), 1)
    warned = [[answer.warning == WARNING for answer in of_image] for of_image in answers]
    assert all(first == second for first, second in warned)
    assert sum(first for first, _ in warned[:60]) <= 4
    assert all(first for first, _ in warned[60:])
    scores = model.score(images[-2:], [["what is it?"]] * 2, [[["mug", "book"]]] * 2)
    assert [each[0].warning for each in scores] == [WARNING, WARNING]


def test_a_warning_joins_others_and_everything_else_shows_through() -> None:
    familiarity = Familiarity.fit([product(index) for index in range(100)], 0.02)
    model = FamiliarityWarnings(FakeModel(prompting("plain")), familiarity)
    assert model.score_meaning == FakeModel(prompting("plain")).score_meaning
    bare = FakeModel(prompting("plain")).answer([noise(0)], [["why?"]], 2)[0][0]
    (answer,) = model.answer([noise(0)], [["why?"]], 2)[0]
    assert answer.answers == bare.answers
    assert (answer.warning or "").endswith(WARNING)
    assert model.answer([], [], 1) == []


def test_is_written_and_read(tmp_path: Path) -> None:
    images = [product(index) for index in range(100)]
    written = Familiarity.fit(images, 0.05)
    written.write(tmp_path / "familiarity.npz")
    read = Familiarity.read(tmp_path / "familiarity.npz")
    assert read.limit == pytest.approx(written.limit)
    assert read.is_unlike([*images, noise(1)]) == written.is_unlike([*images, noise(1)])
    assert sum(written.is_unlike(images)) <= 5


def test_statistics_are_finite_for_flat_images() -> None:
    assert np.isfinite(image_statistics(np.zeros((16, 16, 3), np.uint8))).all()
