"""The size in which images go to a chat model equals the size that its own processor would choose first."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.image_transforms import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.models.chat_transform import (
    LONGEST_EDGE,
    Bounded,
    Fixed,
    ShortestEdge,
    WholePatches,
    transform_from_config,
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
    code = "import sys, vqa_ray.models.chat_transform; assert not {'torch', 'transformers', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
