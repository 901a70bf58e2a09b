"""Checkpoints that load without transformers' model classes: the same answers, and the stock way wherever in doubt."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers import tiny_encoders
from tests.helpers.tiny import random_images, save_tiny_vilt
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.files import local_directory
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.encoders import clip, clip_modules
from vqa_ray.models.vilt import model as vilt
from vqa_ray.models.vilt import modules as vilt_modules

QUESTIONS = [["is there a dog?", "what colour is it?"], ["how many?"], ["is it red?", "is it blue?", "what is it?"]]
TEXTS = ["a red mug", "a", "two dogs beside a very large blue chair"]


def files(directory: Path) -> tuple[Path, dict[str, Any]]:
    return directory, read_json(directory, "config.json")


@pytest.fixture
def vilt_directory(tmp_path: Path) -> Path:
    return save_tiny_vilt(tmp_path / "vilt")


@pytest.fixture
def clip_directory(tmp_path: Path) -> Path:
    return tiny_encoders.save(tmp_path / "clip", tiny_encoders.clip())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_vilt_answers_exactly_as_with_the_stock_modules(
    vilt_directory: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(3)
    plain = vilt.Vilt.from_checkpoint(Checkpoint.open(str(vilt_directory)), device="cpu", dtype=dtype)
    monkeypatch.setattr(vilt, "load_plain", lambda *_: None)
    stock = vilt.Vilt.from_checkpoint(Checkpoint.open(str(vilt_directory)), device="cpu", dtype=dtype)
    assert isinstance(plain.network.model, vilt_modules.ViltModules)
    assert not isinstance(stock.network.model, vilt_modules.ViltModules)
    assert plain.answer(images, QUESTIONS, 3) == stock.answer(images, QUESTIONS, 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_clip_embeds_as_with_the_stock_modules(
    clip_directory: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny_encoders.photos(3)
    plain = clip.ClipEncoder.from_checkpoint(Checkpoint.open(str(clip_directory)), device="cpu", dtype=dtype)
    monkeypatch.setattr(clip, "load_plain", lambda *_: None)
    stock = clip.ClipEncoder.from_checkpoint(Checkpoint.open(str(clip_directory)), device="cpu", dtype=dtype)
    assert isinstance(plain.backbone._model, clip_modules.ClipModules)
    np.testing.assert_array_equal(plain.encode_images(images), stock.encode_images(images))
    np.testing.assert_allclose(
        plain.encode_texts(TEXTS), stock.encode_texts(TEXTS), atol=1e-6 if dtype == "float32" else 1e-2
    )


def test_bundled_models_load_without_transformers_and_the_compiler() -> None:
    code = (
        "import sys\n"
        "from vqa_ray.models.load import ModelOptions\n"
        "ModelOptions('bundled:catalog-vilt', device='cpu').load()\n"
        "ModelOptions('bundled:catalog-clip', device='cpu').load_encoder()\n"
        "print(*{'transformers', 'torch._dynamo', 'ray'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def _edit(directory: Path, **changes: object) -> None:
    config = json.loads((directory / "config.json").read_text("utf-8"))
    (directory / "config.json").write_text(json.dumps(config | changes), "utf-8")


def _change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    (file,) = directory.glob("*.safetensors")
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


def _legacy_names(weights: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weights if "LayerNorm.weight" in name]:
        weights[name.replace("LayerNorm.weight", "LayerNorm.gamma")] = weights.pop(name)


def _more(weights: dict[str, torch.Tensor]) -> None:
    weights["another.weight"] = torch.zeros(1)


def _other_shape(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.3.bias"] = torch.zeros(1)


@pytest.mark.parametrize("change", [_legacy_names, _more, _other_shape])
def test_weights_that_need_more_than_reading_are_left_to_transformers(
    vilt_directory: Path, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    assert vilt_modules.load_plain(*files(vilt_directory), torch.float32) is not None
    _change_weights(vilt_directory, change)
    assert vilt_modules.load_plain(*files(vilt_directory), torch.float32) is None


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"image_size": [384, 384]}, {"id2label": None}])
def test_configs_out_of_the_ordinary_are_left_to_transformers(vilt_directory: Path, change: dict[str, object]) -> None:
    _edit(vilt_directory, **change)
    assert vilt_modules.load_plain(*files(vilt_directory), torch.float32) is None


def test_damaged_weights_are_told(vilt_directory: Path) -> None:
    (file,) = vilt_directory.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match="damaged or cut short"):
        vilt_modules.load_plain(*files(vilt_directory), torch.float32)


def test_an_old_clip_config_is_left_to_transformers(clip_directory: Path) -> None:
    assert clip_modules.load_plain(*files(clip_directory), torch.float32) is not None
    _edit(clip_directory, text_config_dict={"hidden_size": 8})
    assert clip_modules.load_plain(*files(clip_directory), torch.float32) is None


def test_missing_entries_of_a_config_have_the_defaults_of_transformers() -> None:
    from transformers import CLIPTextConfig, CLIPVisionConfig, ViltConfig

    for config, defaults in (
        (ViltConfig(), vilt_modules._DEFAULTS),
        (CLIPTextConfig(), clip_modules._TEXT),
        (CLIPVisionConfig(), clip_modules._VISION),
    ):
        assert {name: getattr(config, name) for name in defaults} == dict(defaults)


def test_the_bundled_models_are_plain() -> None:
    path = local_directory("bundled:catalog-vilt")
    assert vilt_modules.load_plain(*files(path), torch.float32) is not None
    assert (
        clip_modules.load_plain(
            local_directory("bundled:catalog-clip"),
            read_json(local_directory("bundled:catalog-clip"), "config.json"),
            torch.float32,
        )
        is not None
    )
