"""The encoder without weights: colours find each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.fake.encoder import FakeEncoder
from vqa_ray.models.fake.model import COLOURS, FAILURE
from vqa_ray.models.fake.sizes import DIMENSION
from vqa_ray.models.load import ModelOptions

NAMES = list(COLOURS)


def of_colour(name: str) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-15, 16, (40, 30, 3))
    return np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("reference", ["fake:", "fake:quadrants"])
def test_a_text_is_nearest_to_the_image_of_its_colour(reference: str) -> None:
    encoder = ModelOptions(reference).load_encoder()
    assert (encoder.vectors, encoder.dimension) == (Checkpoint.open(reference).shape.vectors, DIMENSION)
    assert encoder.score_meaning == Checkpoint.open(reference).similarity_meaning
    images = encoder.encode_images([of_colour(name) for name in NAMES]).reshape(len(NAMES), encoder.vectors, -1)
    for text in ("{}", "a {} mug with a dog", "{}!"):
        texts = encoder.encode_texts([text.format(name.upper()) for name in NAMES])
        scores = np.einsum("ivd,td->tiv", images, texts).max(axis=-1)
        assert scores.argmax(axis=1).tolist() == list(range(len(NAMES)))


def test_quadrants_find_a_colour_in_a_corner() -> None:
    encoder = FakeEncoder(4)
    image = of_colour("white")
    image[20:, :15] = COLOURS["red"]
    vectors = encoder.encode_images([image]).reshape(4, -1)
    assert (vectors @ encoder.encode_texts(["red"])[0]).argmax() == 2


@settings(deadline=None)
@given(st.lists(st.text(), max_size=4), st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_every_vector_has_length_1_and_is_repeatable(texts: list[str], height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (max(2, height), max(2, width), 3), np.uint8)
    for vectors in (1, 4):
        encoder = FakeEncoder(vectors)
        found = encoder.encode_images([image, image])
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_allclose(np.linalg.norm(found.reshape(2 * vectors, -1), axis=1), 1, atol=1e-5)
        of_texts = encoder.encode_texts(texts)
        assert of_texts.shape == (len(texts), encoder.dimension)
        assert of_texts.dtype == found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(of_texts, axis=1), 1, atol=1e-5)


def test_nothing_gives_nothing_and_failure_raises() -> None:
    assert FakeEncoder(4).encode_images([]).shape == (0, 4 * FakeEncoder.dimension)
    with pytest.raises(ValueError, match=FAILURE):
        FakeEncoder().encode_texts([FAILURE])


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from vqa_ray.models.load import ModelOptions;"
        "ModelOptions('fake:').load_encoder().encode_texts(['red']);"
        "assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=True)
