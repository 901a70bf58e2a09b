"""Starts of contrastive training: from nothing, from a checkpoint, and from what is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPModel, CLIPProcessor

from tests.helpers.tiny_pairs import CAPTIONS, SHAPE, tiny_network, tiny_start
from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.training.config import CONTRASTIVE
from vqa_ray.training.contrastive.export import export_pairs
from vqa_ray.training.contrastive.initialise import start_pairs_from
from vqa_ray.training.contrastive.network import PairNetwork
from vqa_ray.training.contrastive.shape import ClipShape
from vqa_ray.training.start import describe_start


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    export_pairs(str(tmp_path / "clip"), tiny_start())
    return tmp_path / "clip"


def test_the_same_seed_gives_the_same_network() -> None:
    first, second, third = (tiny_start(seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["visual_projection.weight"], third["visual_projection.weight"])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    tiny_start()
    assert torch.equal(torch.rand(1), wanted)


def test_an_export_is_loaded_by_transformers_and_says_the_same(checkpoint: Path) -> None:
    model, report = CLIPModel.from_pretrained(checkpoint, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    processor = CLIPProcessor.from_pretrained(checkpoint, backend="pil")
    rng = np.random.default_rng(0)
    # Of another size than the network's, and not square: both sides are resized.
    image = Image.fromarray(rng.integers(0, 256, (48, 40, 3), dtype=np.uint8))
    inputs = processor(image, list(CAPTIONS), return_tensors="pt", padding=True)
    with torch.no_grad():
        found = model.eval()(**inputs)
    network = tiny_network().eval()
    sized = image.resize((SHAPE.image_size,) * 2, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(sized))[None]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        ours = network.images([pixels])
        texts = torch.cat([network.texts(torch.tensor([tokenizer(caption)["input_ids"]])) for caption in CAPTIONS])
    assert torch.allclose(found.image_embeds, ours, atol=2e-3)
    assert torch.allclose(found.text_embeds, texts, atol=1e-5)


def test_a_start_from_an_export_goes_on_from_it(checkpoint: Path) -> None:
    start = start_pairs_from(describe_start(str(checkpoint), CONTRASTIVE), dropout=0.25)
    before = tiny_start().model.state_dict()
    assert all(torch.equal(before[name], weight) for name, weight in start.model.state_dict().items())
    assert {layer.self_attn.dropout for layer in start.model.text_model.encoder.layers} == {0.25}
    assert start.model.training
    assert start.max_text_tokens == SHAPE.max_text_tokens
    assert start.transform.crop == SHAPE.image_size
    assert describe_start(str(checkpoint), CONTRASTIVE).vocabulary is None


def test_an_export_in_half_precision_leaves_the_training_model_alone(tmp_path: Path) -> None:
    start = tiny_start()
    export_pairs(str(tmp_path / "half"), start, "bfloat16")
    assert {weight.dtype for weight in start.model.parameters()} == {torch.float32}
    model = CLIPModel.from_pretrained(tmp_path / "half", dtype="auto")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_images_are_cut_in_their_middle() -> None:
    network = tiny_network().eval()
    rng = np.random.default_rng(0)
    wide = torch.from_numpy(rng.integers(0, 256, (2, 32, 46, 3), dtype=np.uint8))
    with torch.no_grad():
        assert torch.equal(network.images([wide]), network.images([wide[:, :, 7:39]]))


def test_a_network_of_vqa_is_refused_with_its_task_named() -> None:
    with pytest.raises(
        ModelLoadError, match=r"catalog-vilt: .*--task contrastive.*'vilt'.*wanted a CLIPModel.*--task vqa"
    ):
        describe_start("bundled:catalog-vilt", CONTRASTIVE)


def test_a_clip_is_refused_where_answers_are_learnt(checkpoint: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"--task vqa: .*'clip', CLIPModel; wanted a ViLT.*--task contrastive"):
        describe_start(str(checkpoint))


def test_half_a_clip_is_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["architectures"] = ["CLIPVisionModelWithProjection"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="'clip', CLIPVisionModelWithProjection; wanted a CLIPModel"):
        describe_start(str(checkpoint), CONTRASTIVE)


def test_a_crop_of_another_size_than_the_network_is_refused(checkpoint: Path) -> None:
    settings = json.loads((checkpoint / "processor_config.json").read_text())
    settings["image_processor"]["size"] = {"height": 40, "width": 40}
    (checkpoint / "processor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelLoadError, match=r"images of 40 pixels.*the network takes 32"):
        describe_start(str(checkpoint), CONTRASTIVE)


def test_weights_that_are_missing_are_told(checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"weights are incomplete, 1 missing, first visual_projection\.weight"):
        start_pairs_from(describe_start(str(checkpoint), CONTRASTIVE))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"heads": 0}, "heads is 0"),
        ({"heads": 5}, "hidden_size 192 is not a multiple of heads 5"),
        ({"text_heads": 3}, "text_hidden_size 128 is not a multiple of text_heads 3"),
        ({"patch_size": 10}, "image_size 96 is not a multiple of patch_size 10"),
    ],
)
def test_impossible_shapes_are_refused(given: dict[str, int], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        ClipShape(**given)


def test_a_network_gives_unit_vectors() -> None:
    network: PairNetwork = tiny_network().eval()
    with torch.no_grad():
        vectors = network.texts(torch.tensor([[2, 9, 3], [2, 3, 0]]))
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2))
