"""SigLIP: padding, resampling, and what does not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from tests.helpers import tiny_encoders
from tests.helpers.pictures import encoded
from tests.helpers.tiny_blip import SIDE
from vqa_ray.errors import ModelLoadError
from vqa_ray.images.decoder import ImageLimits, decode_for
from vqa_ray.images.resize import resize
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.encoders.shape import siglip_shape
from vqa_ray.models.encoders.siglip import SiglipEncoder
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.types import EmbeddingShape


def load(directory: Path) -> SiglipEncoder:
    return SiglipEncoder.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32")


def stock(built: tuple[Any, Any], images: list[Any], padding: bool | str = "max_length") -> Any:
    model, processor = built
    inputs = processor(images=images, text=["a dog", "two cats"], return_tensors="pt", padding=padding)
    with torch.no_grad():
        return model(**inputs)


def test_texts_are_padded_as_in_training(tmp_path: Path) -> None:
    """Padded to the longest of their batch, they would be others."""
    built = tiny_encoders.siglip()
    found = load(tiny_encoders.save(tmp_path, built)).encode_texts(["a dog", "two cats"])
    images = [PillowImage.new("RGB", (SIDE, SIDE))]
    np.testing.assert_allclose(found, stock(built, images).text_embeds, atol=1e-5)
    shorter = stock(built, images, padding=True).text_embeds.numpy()
    assert np.abs(found - shorter).max() > 0.01


@pytest.mark.parametrize("patch", [8, 7])
def test_siglip_2_resizes_bilinearly(tmp_path: Path, patch: int) -> None:
    built = tiny_encoders.siglip(resample=2, patch_size=patch)
    directory = tiny_encoders.save(tmp_path, built)
    transform = Checkpoint.open(str(directory)).transform
    noise = np.random.default_rng(0).integers(0, 256, (61, 90, 3), np.uint8)
    source = PillowImage.fromarray(noise)
    image = decode_for(encoded(source, "PNG"), ImageLimits(), transform)
    resized = source.resize((SIDE, SIDE), PillowImage.Resampling.BILINEAR)
    assert np.abs(image.astype(int) - np.asarray(resized)).max() <= 2
    assert np.abs(image.astype(int) - resize(noise, SIDE, SIDE)).max() > 8
    encoder = load(directory)
    np.testing.assert_allclose(encoder.encode_images([image]), stock(built, [image]).image_embeds, atol=1e-5)
    cosine = (encoder.encode_images([image]) * stock(built, [source]).image_embeds.numpy()).sum()
    assert cosine > 0.9995


def test_an_encoder_without_its_head_is_refused(tmp_path: Path) -> None:
    directory = tiny_encoders.save(tmp_path, tiny_encoders.siglip(vision_use_head=False))
    with pytest.raises(ModelLoadError, match="vision_use_head is false, so an image has no vector of its own"):
        load(directory)


def test_vectors_of_different_lengths_are_refused_before_any_work(tmp_path: Path) -> None:
    directory = tiny_encoders.save(tmp_path, tiny_encoders.siglip(text={"projection_size": 24}))
    with pytest.raises(ModelLoadError, match=r"vectors of 32 numbers of images .* and of 24 of texts .*must agree"):
        Checkpoint.open(str(directory))


def test_sizes_that_a_config_leaves_out_are_those_of_transformers() -> None:
    assert siglip_shape({}, "model x") == EmbeddingShape(1, 768)
    sizes = {"vision_config": {"hidden_size": 9}, "text_config": {"hidden_size": 8, "projection_size": 9}}
    assert siglip_shape(sizes, "model x") == EmbeddingShape(1, 9)
    transform = SquareTransform.from_siglip_config({}, "model x")
    assert (transform.side, transform.mean, transform.std, transform.resample) == (224, *[(0.5,) * 3] * 2, "bicubic")
    with pytest.raises(ModelLoadError, match=r"model x: size is .*, wanted a number or .* a square"):
        SquareTransform.from_siglip_config({"size": {"height": 32, "width": 64}}, "model x")


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    directory = tiny_encoders.save(tmp_path, tiny_encoders.siglip())
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(settings | {"pad_token": None}), "utf-8")
    with pytest.raises(ModelLoadError, match="tokenizer has no pad token"):
        load(directory)


def test_a_package_that_is_missing_is_told_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    def missing(*_: object, **__: object) -> None:
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    directory = tiny_encoders.save(tmp_path, tiny_encoders.siglip())
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", missing)
    with pytest.raises(ModelLoadError, match=r"needs a package that is missing: pip install 'vqa-ray\[siglip\]'"):
        load(directory)
