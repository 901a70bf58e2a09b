from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.models.transforms.vilt import ViltTransform


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_chooses_the_size_of_the_stock_processor(height: int, width: int) -> None:
    from transformers.models.vilt.image_processing_pil_vilt import get_resize_output_image_size

    wanted = get_resize_output_image_size(
        np.broadcast_to(np.uint8(0), (3, height, width)), 384, int(1333 / 800 * 384), 32, "channels_first"
    )
    if 0 in wanted:
        with pytest.raises(RowError, match="too elongated") as caught:
            ViltTransform().target_size(height, width)
        assert caught.value.code == ErrorCode.IMAGE_ASPECT_RATIO
    else:
        assert ViltTransform().target_size(height, width) == wanted


@pytest.mark.parametrize("size", [384, {"shortest_edge": 384}])
def test_reads_both_layouts(size: object) -> None:
    transform = ViltTransform.from_config({"size": size, "image_mean": [0.5] * 3, "resample": 3}, "model m")
    assert transform == ViltTransform()
    assert pickle.loads(pickle.dumps(transform)) == transform


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": {"height": 384, "width": 384}}, r"model m: size is \{.*\}, wanted a number or"),
        ({"resample": 2}, r"model m: resample is 2, only 3 \(bicubic\) is supported"),
        ({"do_resize": False}, "model m: do_resize is false"),
    ],
)
def test_refuses_what_it_cannot_reproduce(config: dict[str, object], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        ViltTransform.from_config(config, "model m")
