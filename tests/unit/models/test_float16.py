"""float16: which devices choose it, which models refuse it, and that every family computes in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny_blip
from tests.helpers.tiny import random_images, save_tiny_vilt
from tests.helpers.tiny_chat import save_tiny_chat
from tests.helpers.tiny_encoders import clip, save, siglip
from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.float16 import overflowing_type
from vqa_ray.models.layers.device import choose_dtype
from vqa_ray.models.load import ModelOptions

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
T5 = {"model_type": "blip-2", "text_config": {"model_type": "t5"}}
OPT = {"model_type": "blip-2", "text_config": {"model_type": "opt"}}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A simulated CUDA device with bfloat16 or without, and a CPU without."""

    def simulate(bfloat16: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)

    return simulate


def test_a_gpu_without_bfloat16_computes_in_float16_where_the_model_allows(device: Callable[[bool], None]) -> None:
    device(False)
    assert choose_dtype(None, CUDA, OPT) == torch.float16
    assert choose_dtype(None, CUDA, T5) == torch.float32
    assert choose_dtype(None, CUDA, {"model_type": "gemma3"}) == torch.float32
    assert choose_dtype(None, CUDA) == torch.float32, "training has no loss scaling"
    assert choose_dtype(None, CPU, OPT) == torch.float32
    assert choose_dtype("bfloat16", CUDA, OPT) == torch.bfloat16
    device(True)
    assert choose_dtype(None, CUDA, OPT) == choose_dtype(None, CUDA, T5) == torch.bfloat16
    assert choose_dtype("float16", CUDA, OPT) == torch.float16


def test_models_that_overflow_are_refused_by_name() -> None:
    with pytest.raises(ModelLoadError, match=r"^model x: t5 overflows in float16 .* allowed are bfloat16, float32$"):
        choose_dtype("float16", CUDA, T5, "model x")
    assert overflowing_type(OPT) is None
    assert overflowing_type({"model_type": "paligemma", "text_config": {"model_type": "gemma2"}}) == "gemma2"


def test_a_command_refuses_before_any_work(tmp_path: Path) -> None:
    directory = tiny_blip.save(tmp_path, tiny_blip.blip2("t5"))
    with pytest.raises(RequestError, match=r"^--dtype float16: model .*: t5 overflows"):
        ModelOptions(str(directory), dtype="float16").check()
    ModelOptions(str(directory), dtype="bfloat16").check()
    ModelOptions("fake:", dtype="float16").check()


MODELS: dict[str, Callable[[Path], Path]] = {
    "vilt": save_tiny_vilt,
    "blip": lambda path: tiny_blip.save(path, tiny_blip.blip("vqa")),
    "blip-2": lambda path: tiny_blip.save(path, tiny_blip.blip2("opt")),
    "instructblip": lambda path: tiny_blip.save(path, tiny_blip.instructblip("llama")),
    "llava": lambda path: save_tiny_chat(path, "llava"),
    "qwen2_vl": lambda path: save_tiny_chat(path, "qwen2_vl"),
    "idefics2": lambda path: save_tiny_chat(path, "idefics2"),
}


@pytest.mark.parametrize("family", MODELS)
def test_a_family_answers_in_float16_nearly_as_in_float32(family: str, tmp_path: Path) -> None:
    directory = MODELS[family](tmp_path)
    images: Any = random_images(4) if family == "vilt" else tiny_blip.random_images(4)
    asked = [["is there a dog?", "what colour is it?"]] * 4
    choices = [[("yes", "no")] * 2] * 4
    scores = {}
    for dtype in ("float32", "float16"):
        model = ModelOptions(
            str(directory), device="cpu", dtype=dtype, **({} if family == "vilt" else {"max_new_tokens": 4})
        ).load()
        assert all(0 <= answer.answers[0][1] <= 1 for each in model.answer(images, asked, 1) for answer in each)
        scores[dtype] = [score for each in model.score(images, asked, choices) for one in each for score in one.scores]
    np.testing.assert_allclose(scores["float16"], scores["float32"], atol=0.05)


def test_blip_2_keeps_its_q_former_in_float32(tmp_path: Path) -> None:
    directory = tiny_blip.save(tmp_path, tiny_blip.blip2("opt"))
    model: Any = ModelOptions(str(directory), device="cpu", dtype="float16").load()
    network = model.backbone._model
    assert {weight.dtype for weight in network.qformer.parameters()} == {torch.float32}
    assert {weight.dtype for weight in network.vision_model.parameters()} == {torch.float16}


@pytest.mark.parametrize("build", [clip, siglip])
def test_encoders_embed_in_float16(build: Any, tmp_path: Path) -> None:
    directory = save(tmp_path, build())
    side = json.loads((directory / "config.json").read_text())["vision_config"]["image_size"]
    images = [np.full((side, side, 3), value, np.uint8) for value in (0, 90, 250)]
    whole, half = (
        ModelOptions(str(directory), device="cpu", dtype=name).load_encoder() for name in ("float32", "float16")
    )
    np.testing.assert_allclose(half.encode_images(images), whole.encode_images(images), atol=0.02)
    np.testing.assert_allclose(half.encode_texts(["a dog"]), whole.encode_texts(["a dog"]), atol=0.02)
