"""BLIP-2's image-text contrast: every query token is a vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from tests.helpers import tiny_encoders
from tests.helpers.tiny_blip import QUERY_TOKENS
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.encoders.blip2 import Blip2Encoder
from vqa_ray.models.encoders.shape import blip2_shape
from vqa_ray.types import EmbeddingShape


@pytest.fixture(scope="module")
def built() -> tuple[Any, Any]:
    return tiny_encoders.blip2()


@pytest.fixture(scope="module")
def encoder(built: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Blip2Encoder:
    directory = tiny_encoders.save(tmp_path_factory.mktemp("blip2"), built)
    return Blip2Encoder.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32")


def test_the_score_is_that_of_the_contrastive_head(built: tuple[Any, Any], encoder: Blip2Encoder) -> None:
    model, processor = built
    images, texts = tiny_encoders.photos(6, seed=4), [*tiny_encoders.TEXTS]
    inputs = processor(images=list(map(PillowImage.fromarray, images)), text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = model(**inputs, use_image_text_matching_head=False).logits_per_image
    of_images = encoder.encode_images(images).reshape(6, QUERY_TOKENS, -1)
    scores = np.einsum("ivd,td->itv", of_images, encoder.encode_texts(texts)).max(axis=-1)
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    assert np.abs(of_images[:, 0] - of_images[:, 1]).max() > 0.1, "one vector would do if all were alike"


def test_sizes_that_a_config_leaves_out_are_those_of_transformers() -> None:
    assert blip2_shape({}, "model x") == EmbeddingShape(32, 256)
    with pytest.raises(ModelLoadError, match=r"num_query_tokens of config\.json is 'x', wanted a positive number"):
        blip2_shape({"num_query_tokens": "x"}, "model x")
