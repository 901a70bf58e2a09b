"""What RandAugment does to an image, and that it does the same again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.errors import RequestError
from vqa_ray.training.data.randaugment import GEOMETRIC, MAX_MAGNITUDE, OPERATIONS, RandAugment, row_generator
from vqa_ray.types import Image


def image_of(height: int = 48, width: int = 64, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 4), st.integers(0, MAX_MAGNITUDE), st.integers(0, 2**63 - 1)
)
def test_any_image_keeps_its_shape_and_is_varied_in_the_same_way_again(
    height: int, width: int, num_ops: int, magnitude: int, key: int
) -> None:
    image = image_of(height, width)
    augment = RandAugment(num_ops, magnitude)
    first, again = (augment(image, row_generator(1, 2, key)) for _ in range(2))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, image_of(height, width))


def test_rows_steps_and_seeds_are_varied_differently() -> None:
    image, augment = image_of(), RandAugment()
    varied = [augment(image, row_generator(*key)).tobytes() for key in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2))]
    assert len(set(varied)) == 4


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_does_something(name: str) -> None:
    image = image_of()
    image[..., 0] = 60 + image[..., 0] // 3
    one = RandAugment(1, 9, (name,))
    assert (one(image, np.random.default_rng(0)) != image).any()


@pytest.mark.parametrize("name", GEOMETRIC)
def test_moves_go_either_way_keep_colours_and_uncover_black(name: str) -> None:
    image = image_of()
    one = RandAugment(1, 9, (name,))
    moved = [one(image, np.random.default_rng(seed)) for seed in range(8)]
    assert len({each.tobytes() for each in moved}) == 2
    known = set(map(tuple, image.reshape(-1, 3).tolist())) | {(0, 0, 0)}
    for each in moved:
        assert set(map(tuple, each.reshape(-1, 3).tolist())) <= known
        assert (each == 0).all(axis=-1).any()


def test_magnitudes_are_those_of_the_recipe() -> None:
    grey = np.full((20, 64, 3), 100, np.uint8)
    rng = np.random.default_rng(0)

    def level(name: str, magnitude: int) -> int:
        return int(RandAugment(1, magnitude, (name,))(grey, rng)[0, 0, 0])

    # 0.1 + 1.8 · 9 / 30 = 0.64 of the brightness; all above 256 · 9 / 30 = 76 turned over; 100 + 33 turned over.
    assert level("brightness", 9) == 64
    assert level("solarize", 9) == 155
    assert level("solarize_add", 9) == 255 - 133
    assert level("posterize", 9) == 0
    assert level("posterize", 30) == 96
    shifted = RandAugment(1, 30, ("translate_x",))(grey, rng)
    assert (shifted == 0).all(axis=(0, 2)).sum() == 10


def test_equal_shares_are_drawn() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    one = RandAugment(1, 9, ("brightness", "translate_x"))
    rng = np.random.default_rng(0)
    dark = sum(one(image, rng)[0, 1, 0] == 64 for _ in range(1000))
    assert 430 < dark < 570


def test_nothing_drawn_changes_nothing() -> None:
    np.testing.assert_array_equal(RandAugment(0)(image_of(), np.random.default_rng(0)), image_of())


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(RequestError, match="num_ops is -1, wanted at least 0"):
        RandAugment(-1)
    with pytest.raises(RequestError, match="magnitude is 31, wanted 0 to 30"):
        RandAugment(2, 31)
    with pytest.raises(RequestError, match="operations are flip; there are auto_contrast, equalize"):
        RandAugment(2, 9, ("flip",))
    with pytest.raises(RequestError, match="operations are none"):
        RandAugment(2, 9, ())


def test_no_flip_and_no_inversion() -> None:
    assert not {"invert", "cutout"} & set(OPERATIONS)
    assert not [name for name in OPERATIONS if "flip" in name or "mirror" in name]
    assert len(OPERATIONS) == 14


def test_torch_is_not_imported() -> None:
    code = "import sys, vqa_ray.training.stages.augment; assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
