"""The size in which images go to a chat model equals the size that its own processor would choose first."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from transformers.image_transforms import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from tests.helpers.tiny_families import BUILDERS
from vqa_ray.errors import ErrorCode, ModelLoadError, RequestError, RowError
from vqa_ray.images.resize import resample_of, resize
from vqa_ray.models.transforms.chat import (
    LONGEST_EDGE,
    Bounded,
    Fixed,
    ShortestEdge,
    WholePatches,
    transform_from_config,
    whole_square,
    within_pixels,
)

CLIP = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 336}, "resample": 3}
QWEN = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12_845_056}
SIDES = st.integers(1, 6_000)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (CLIP, ShortestEdge(336)),
        ({**CLIP, "size": 336}, ShortestEdge(336)),
        ({"feature_extractor_type": "CLIPFeatureExtractor", "size": 224}, ShortestEdge(224)),
        ({**CLIP, "image_processor_type": "CLIPImageProcessorFast"}, ShortestEdge(336)),
        (
            {"image_processor_type": "Glm46VImageProcessor", "temporal_patch_size": 2},
            WholePatches(28, 112 * 112, 28 * 28 * 15_000, frames=2, growth="down"),
        ),
        (
            {"image_processor_type": "PaddleOCRVLImageProcessor"},
            WholePatches(28, 384 * 384, 1536 * 1536, growth="nearest"),
        ),
        ({**CLIP, "resample": 2}, Bounded()),
        ({**CLIP, "do_resize": False}, Bounded()),
        ({**CLIP, "size": {"longest_edge": 300}}, Bounded()),
        ({"image_processor_type": "SiglipImageProcessor", "size": {"height": 384, "width": 384}}, Fixed(384, 384)),
        (QWEN, WholePatches(28, 3136, 12_845_056)),
        (
            {**QWEN, "patch_size": 16, "min_pixels": None, "size": {"shortest_edge": 65_536}},
            WholePatches(32, 65_536, 12_845_056),
        ),
        ({"image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": 336}}, Bounded()),
        ({"image_processor_type": "Idefics3ImageProcessor", "size": {"longest_edge": 1456}}, Bounded()),
        ({}, Bounded()),
    ],
)
def test_reads_the_processors_settings(config: dict[str, Any], wanted: object) -> None:
    transform = transform_from_config(config, "model x")
    assert transform == wanted
    assert pickle.loads(pickle.dumps(transform)) == wanted


def test_kosmos_sees_the_whole_image() -> None:
    """Its boxes are parts of what it sees, which a crop would make another part of the image."""
    cropped = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "resample": 3}
    assert whole_square(cropped | {"use_square_size": True}, "model m") == Fixed(224, 224)
    assert whole_square(cropped | {"size": {"height": 28, "width": 28}}, "model m") == Fixed(28, 28)
    with pytest.raises(ModelLoadError, match=r"^model m: its image processor crops images"):
        whole_square(cropped, "model m")


def test_an_empty_range_of_pixels_is_told() -> None:
    with pytest.raises(ModelLoadError, match="model x: the image processor allows 100 to 50 pixels, an empty range"):
        transform_from_config({**QWEN, "min_pixels": 100, "max_pixels": 50}, "model x")


@given(SIDES, SIDES)
def test_whole_patches_equal_smart_resize_and_stay(height: int, width: int) -> None:
    transform = WholePatches(28, 3136, 1_003_520)
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(RowError, match="more than 200 times") as caught:
            transform.target_size(height, width)
        assert caught.value.code == ErrorCode.IMAGE_ASPECT_RATIO
        return
    size = transform.target_size(height, width)
    assert size == smart_resize(height, width, 28, 3136, 1_003_520)
    if max(size) <= 200 * min(size):
        # The processor's own resize of the resized image is the identity, where the bounds can be met at all.
        assert smart_resize(*size, 28, 3136, 1_003_520) == size


GLM = {"image_processor_type": "Glm4vImageProcessor", "patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}


@given(SIDES, SIDES)
def test_glm_counts_two_frames_and_grows_narrow_images(height: int, width: int) -> None:
    from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as glm

    config = {**GLM, "size": {"shortest_edge": 12_544, "longest_edge": 3_000_000}}
    _check_size(
        transform_from_config(config, "model x"), lambda h, w: glm(2, h, w, 2, 28, 12_544, 3_000_000), height, width
    )


@given(SIDES, SIDES)
def test_paddleocr_grows_narrow_images_to_the_nearest(height: int, width: int) -> None:
    from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import smart_resize as paddle

    transform = transform_from_config({"image_processor_type": "PaddleOCRVLImageProcessorFast"}, "model x")
    _check_size(transform, paddle, height, width)


def _check_size(transform: Any, stock: Any, height: int, width: int) -> None:
    try:
        size = transform.target_size(height, width)
    except RowError:
        with pytest.raises(ValueError, match="aspect ratio"):
            stock(height, width)
        return
    assert size == stock(height, width)
    if min(height, width) >= transform.factor and max(size) <= 200 * min(size):
        # The processor's own resize of the resized image is the identity.
        assert stock(*size) == size


@given(SIDES, SIDES, st.integers(28 * 28, 1_003_520))
def test_a_bound_of_pixels_holds_and_is_transformers_own(height: int, width: int, pixels: int) -> None:
    transform = within_pixels(WholePatches(28, 3136, 12_845_056), pixels, "model x")
    # One patch across is the least, however narrow the image.
    if max(height, width) > min(200 * min(height, width), pixels // 28**2 * min(height, width)):
        return
    tall, wide = transform.target_size(height, width)
    assert tall * wide <= pixels
    if pixels >= 4 * 3136:
        assert (tall, wide) == smart_resize(height, width, 28, 3136, pixels)
    kept = transform.kept_size
    assert smart_resize(tall, wide, 28, kept["shortest_edge"], kept["longest_edge"]) == (tall, wide)


def test_a_bound_of_pixels_counts_frames_and_only_shrinks() -> None:
    glm = WholePatches(28, 12_544, 3_000_000, frames=2, growth="down")
    assert within_pixels(glm, 28 * 28 * 100, "model x").max_pixels == 2 * 28 * 28 * 100
    assert within_pixels(glm, 10_000_000, "model x") == glm


@pytest.mark.parametrize(
    ("transform", "pixels", "message"),
    [
        (Fixed(384, 384), 100_000, "model x: its image processor decides the size or the tiles of an image"),
        (
            WholePatches(32, 65_536, 12_845_056),
            1023,
            "model x: an image token stands for 32x32 pixels; wanted at least",
        ),
    ],
)
def test_a_bound_of_pixels_is_refused_where_it_means_nothing(transform: Any, pixels: int, message: str) -> None:
    with pytest.raises(RequestError, match=f"^--max-pixels {pixels}: {message}"):
        within_pixels(transform, pixels, "model x")


@given(SIDES, SIDES)
def test_shortest_edge_equals_clip(height: int, width: int) -> None:
    if max(height, width) <= 200 * min(height, width):
        image = np.broadcast_to(np.uint8(0), (3, height, width))
        wanted = get_resize_output_image_size(image, 336, default_to_square=False, input_data_format="channels_first")
        assert ShortestEdge(336).target_size(height, width) == wanted
        assert ShortestEdge(336).target_size(*wanted) == wanted


@given(SIDES, SIDES)
def test_bounded_leaves_what_fits_and_keeps_the_shape(height: int, width: int) -> None:
    if max(height, width) > 200 * min(height, width):
        return
    tall, wide = Bounded().target_size(height, width)
    assert max(tall, wide) <= LONGEST_EDGE
    if max(height, width) <= LONGEST_EDGE:
        assert (tall, wide) == (height, width)
    assert tall == pytest.approx(height * wide / width, abs=max(1, height / width))


def test_is_light() -> None:
    code = "import sys, vqa_ray.models.transforms.chat; assert not {'torch', 'transformers', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_processor_makes_of_a_sized_image_what_it_makes_of_the_image(name: str) -> None:
    """Pixel values, and with them their number, and tokens."""
    _, processor = BUILDERS[name]()
    for height, width in ((60, 200), (200, 60), (333, 500), (1300, 900)):
        _compare(processor.image_processor, height, width)


# Above `LONGEST_EDGE` on one side, and within what the processor keeps.
@pytest.mark.parametrize(("kind", "height", "width"), [("glm4v", 1500, 2700), ("paddleocr_vl", 800, 2800)])
def test_a_large_image_keeps_the_size_of_the_stock_processor(kind: str, height: int, width: int) -> None:
    names = {"glm4v": "Glm4vImageProcessorPil", "paddleocr_vl": "PaddleOCRVLImageProcessorPil"}
    module = importlib.import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
    _compare(getattr(module, names[kind])(), height, width)


def _compare(images: Any, height: int, width: int) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = np.asarray(PillowImage.fromarray(coarse).resize((width, height), PillowImage.Resampling.BICUBIC))
    config = images.to_dict()
    config["image_processor_type"] = type(images).__name__
    transform = transform_from_config(config, "model x")
    sized = resize(pixels, *transform.target_size(height, width), resample_of(transform))
    ours, stock = (images(PillowImage.fromarray(each), return_tensors="pt") for each in (sized, pixels))
    assert set(ours) == set(stock)
    for key in stock:
        found, wanted = np.asarray(ours[key]), np.asarray(stock[key])
        assert found.shape == wanted.shape, key
        # One step of 255, over the smallest deviation that a processor divides by.
        np.testing.assert_allclose(found, wanted, atol=1 / 255 / 0.2, err_msg=key)
