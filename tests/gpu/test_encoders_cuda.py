"""Encoders on CUDA; run with `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import tiny_encoders
from vqa_ray.models.encoders.dual_encoder import DualEncoder
from vqa_ray.models.load import ModelOptions

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

FAMILIES = {"clip": tiny_encoders.clip, "siglip": tiny_encoders.siglip, "blip-2": tiny_encoders.blip2}


@pytest.fixture(scope="module", params=FAMILIES)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoders.save(tmp_path_factory.mktemp("encoder"), FAMILIES[request.param]())


def encoded(directory: Path, device: str | None, dtype: str | None) -> tuple[np.ndarray, np.ndarray]:
    encoder = ModelOptions(str(directory), device=device, dtype=dtype).load_encoder()
    return encoder.encode_images(tiny_encoders.photos(40)), encoder.encode_texts(tiny_encoders.TEXTS)


def test_float32_equals_the_cpu(directory: Path) -> None:
    for here, there in zip(encoded(directory, "cuda", "float32"), encoded(directory, "cpu", "float32"), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-4)


def test_bfloat16_is_the_default_and_near(directory: Path) -> None:
    exact, _ = encoded(directory, "cuda", "float32")
    near, _ = encoded(directory, None, None)
    encoder = ModelOptions(str(directory)).load_encoder()
    assert isinstance(encoder, DualEncoder)
    assert encoder.device.type == "cuda"
    assert (exact * near).sum(axis=1).min() / encoder.vectors > 0.99


def test_a_pass_waits_for_nothing(directory: Path) -> None:
    encoder = ModelOptions(str(directory), device="cuda", dtype="float32").load_encoder()
    assert isinstance(encoder, DualEncoder)
    pixels = torch.from_numpy(np.stack(tiny_encoders.photos(4))).cuda()
    with torch.inference_mode():
        encoder.backbone.images(pixels)
        torch.cuda.set_sync_debug_mode("error")
        try:
            encoder.backbone.images(pixels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
