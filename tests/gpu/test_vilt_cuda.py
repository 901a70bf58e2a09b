"""ViLT on CUDA; run with `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.tiny import random_images, save_tiny_vilt
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.vilt.model import Vilt
from vqa_ray.models.vilt.network import Pairs

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

QUESTIONS = [["what is this?", "is it red?"], ["how many dog are there?"]] * 16


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vilt(tmp_path_factory.mktemp("vilt"))


def load(directory: Path, **options: Any) -> Vilt:
    return Vilt.from_checkpoint(Checkpoint.open(str(directory)), **options)


def test_float32_equals_the_cpu(directory: Path) -> None:
    images = random_images(32)
    wanted = load(directory, device="cpu", dtype="float32").answer(images, QUESTIONS, top_k=6)
    found = load(directory, device="cuda", dtype="float32").answer(images, QUESTIONS, top_k=6)
    for a, b in zip((x for xs in wanted for x in xs), (x for xs in found for x in xs), strict=True):
        assert dict(a.answers) == pytest.approx(dict(b.answers), abs=1e-4)


def test_bfloat16_is_the_default_and_mostly_agrees(directory: Path) -> None:
    images = random_images(32)
    exact = load(directory, device="cuda", dtype="float32").answer(images, QUESTIONS, top_k=1)
    model = load(directory)
    assert next(model.network.model.parameters()).dtype == torch.bfloat16
    half = model.answer(images, QUESTIONS, top_k=1)
    agreement = np.mean(
        [
            a.answers[0][0] == b.answers[0][0]
            for x, y in zip(exact, half, strict=True)
            for a, b in zip(x, y, strict=True)
        ]
    )
    assert agreement >= 0.9


def test_a_forward_never_waits_for_the_device(directory: Path) -> None:
    network = load(directory, device="cuda").network
    pixels = torch.randint(0, 256, (8, 32, 40, 3), dtype=torch.uint8, device="cuda")
    ids = torch.randint(5, 40, (8, 9), device="cuda")
    with torch.inference_mode():
        network([Pairs(ids, None, network.image_tokens(pixels))])
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            network([Pairs(ids, ids > 0, network.image_tokens(pixels))])
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_compiled_equals_eager(directory: Path) -> None:
    images = random_images(8)
    eager = load(directory, device="cuda", dtype="float32").answer(images, QUESTIONS[:8], top_k=6)
    compiled = load(directory, device="cuda", dtype="float32", compile=True)
    for a, b in zip(eager, compiled.answer(images, QUESTIONS[:8], top_k=6), strict=True):
        for x, y in zip(a, b, strict=True):
            assert dict(x.answers) == pytest.approx(dict(y.answers), abs=1e-4)
