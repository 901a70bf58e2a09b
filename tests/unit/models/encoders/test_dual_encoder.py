"""What all encoders promise: the vectors of stock transformers, of length 1, whatever stands beside them in a batch."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file

from tests.helpers import tiny_encoders
from tests.helpers.tiny_blip import SIDE
from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.images.decoder import ImageLimits, decode_for
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.encoders.dual_encoder import DualEncoder
from vqa_ray.models.load import ModelOptions

ROOT = Path(__file__).parents[4]
FAMILIES = {"clip": tiny_encoders.clip, "siglip": tiny_encoders.siglip, "blip-2": tiny_encoders.blip2}
SIZES = ((SIDE, SIDE), (SIDE, 45), (71, SIDE))


class Tiny:
    """A family's tiny checkpoint: what it was made from, its directory and the engine."""

    def __init__(self, family: str, directory: Path) -> None:
        self.family = family
        self.model, self.processor = built = FAMILIES[family]()
        self.directory = tiny_encoders.save(directory, built)
        self.encoder = load(directory)

    def stock(self, images: list[Any], texts: list[str]) -> Any:
        """What transformers' own processor and model make of them."""
        padding = "max_length" if self.family == "siglip" else True
        options = {"padding": padding, "truncation": True, "max_length": tiny_encoders.TEXT_TOKENS}
        if self.family == "blip-2":
            # Its processor takes the image's own places off the limit.
            options["max_length"] += self.model.config.num_query_tokens
        inputs = self.processor(images=images, text=texts, return_tensors="pt", **options)
        with torch.no_grad():
            return self.model(**inputs)


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def broken(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(tiny.directory, tmp_path / "model"))


def load(directory: Path, dtype: str = "float32") -> DualEncoder:
    encoder = ModelOptions(str(directory), device="cpu", dtype=dtype).load_encoder()
    assert isinstance(encoder, DualEncoder)
    return encoder


def edit(path: Path, **changes: object) -> None:
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(settings | changes), "utf-8")


def test_vectors_are_those_of_stock_transformers(tiny: Tiny) -> None:
    images = tiny_encoders.photos(9, seed=1, sizes=SIZES if tiny.family == "clip" else SIZES[:1])
    texts = [*tiny_encoders.TEXTS, tiny_encoders.LONG_TEXT]
    stock = tiny.stock([PillowImage.fromarray(image) for image in images], texts)
    of_images, of_texts = tiny.encoder.encode_images(images), tiny.encoder.encode_texts(texts)
    assert of_images.dtype == of_texts.dtype == np.float32
    np.testing.assert_allclose(of_images, stock.image_embeds.flatten(1), atol=1e-5)
    np.testing.assert_allclose(of_texts, stock.text_embeds, atol=1e-5)
    assert min(np.std(of_images, axis=0).max(), np.std(of_texts, axis=0).max()) > 0.1, "else all would be alike"


def test_every_vector_has_length_1_and_the_shape_that_the_config_tells(tiny: Tiny) -> None:
    shape = Checkpoint.open(str(tiny.directory)).shape
    assert (tiny.encoder.vectors, tiny.encoder.dimension) == (shape.vectors, shape.dimension)
    vectors = tiny.encoder.encode_images(tiny_encoders.photos(3))
    assert vectors.shape == (3, shape.vectors * shape.dimension)
    lengths = np.linalg.norm(vectors.reshape(3, shape.vectors, shape.dimension), axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(tiny.encoder.encode_texts(["a", "b"]), axis=-1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts = tiny_encoders.photos(7, seed=2), [*tiny_encoders.TEXTS]
    together = tiny.encoder.encode_images(images), tiny.encoder.encode_texts(texts)
    monkeypatch.setattr(tiny.encoder, "_images_per_pass", 3)
    monkeypatch.setattr(tiny.encoder, "_texts_per_pass", 1)
    alone = tiny.encoder.encode_images(images), tiny.encoder.encode_texts(texts)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_nothing_gives_nothing(tiny: Tiny) -> None:
    assert tiny.encoder.encode_images([]).shape == (0, tiny.encoder.vectors * tiny.encoder.dimension)
    assert tiny.encoder.encode_texts([]).shape == (0, tiny.encoder.dimension)


def test_from_files_vectors_are_near_those_of_the_stock_processor(tiny: Tiny) -> None:
    """Resizing differs from Pillow's by rounding."""
    from tests.helpers.pictures import encoded, photo

    sources = [photo(*size, seed) for seed, size in enumerate([(90, 60), (64, 100), (33, 32)])]
    transform = Checkpoint.open(str(tiny.directory)).transform
    images = [decode_for(encoded(source, "PNG"), ImageLimits(), transform) for source in sources]
    wanted = tiny.stock(sources, ["a"]).image_embeds.flatten(1).numpy()
    found = tiny.encoder.encode_images(images)
    cosines = (wanted * found).sum(axis=1) / tiny.encoder.vectors
    assert cosines.min() > 0.9995


def test_bfloat16_is_near(tiny: Tiny) -> None:
    images = tiny_encoders.photos(6, seed=3)
    whole, rounded = tiny.encoder.encode_images(images), load(tiny.directory, "bfloat16").encode_images(images)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rounded.reshape(-1, tiny.encoder.dimension), axis=-1), 1, atol=1e-5)
    assert (whole * rounded).sum(axis=1).min() / tiny.encoder.vectors > 0.995


def test_long_texts_are_cut_and_told(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vqa_ray"):
        tiny.encoder.encode_texts(["a", tiny_encoders.LONG_TEXT])
    assert caplog.messages == [f"1 of 2 texts are cut to the model's {tiny_encoders.TEXT_TOKENS} tokens"]
    caplog.clear()
    tiny.encoder.encode_texts(["a"])
    assert not caplog.messages


def test_an_image_that_is_too_small_is_told(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match=rf"an image of 31x{SIDE} pixels for an encoder that sees {SIDE}x{SIDE}"):
        tiny.encoder.encode_images([np.zeros((SIDE, 31, 3), np.uint8)])


def test_weights_that_are_missing_are_named(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    gone = min(name for name in weights if "projection" in name or "head." in name)
    del weights[gone]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=rf"weights are incomplete, 1 missing, first {gone}"):
        load(broken)


def test_weights_of_another_shape_are_named(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    name = min(name for name in weights if name.startswith("text") and ("projection" in name or "head.w" in name))
    weights[name] = weights[name][:-1].contiguous()
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    told = rf"1 weights do not fit config.json, first {name}: its shape is \({len(weights[name])}, *\d*\), wanted"
    with pytest.raises(ModelLoadError, match=told):
        load(broken)


def test_a_processor_of_another_size_is_refused(tiny: Tiny, broken: Path) -> None:
    path = broken / "processor_config.json"
    images = json.loads(path.read_text("utf-8"))["image_processor"]
    images["size"] = {"height": 48, "width": 48}
    edit(path, image_processor=images | {"crop_size": {"height": 48, "width": 48}})
    with pytest.raises(ModelLoadError, match=rf"its processor makes images of 48 pixels, its encoder takes {SIDE}"):
        load(broken)


def test_a_tokenizer_that_is_missing_is_told(broken: Path) -> None:
    for name in ("tokenizer.json", "spiece.model", "tokenizer_config.json"):
        (broken / name).unlink(missing_ok=True)
    with pytest.raises(ModelLoadError, match="tokenizer"):
        load(broken)


def test_an_encoder_answers_no_questions_and_others_do_not_embed(tiny: Tiny) -> None:
    reference = str(tiny.directory)
    with pytest.raises(RequestError, match=rf"{tiny.family}.* does not answer questions; models that do are vilt"):
        ModelOptions(reference).load()
    with pytest.raises(RequestError, match=r"vilt does not embed images; models that do are clip, siglip, blip-2 \("):
        ModelOptions("bundled:catalog-vilt").load_encoder()
    assert (
        Checkpoint.open(reference).similarity_meaning
        == tiny.encoder.score_meaning
        == Checkpoint.open(reference).score_meaning
    )


def test_a_directory_is_described_without_torch(tiny: Tiny) -> None:
    code = (
        "import sys; from vqa_ray.models.checkpoint.opened import Checkpoint;"
        f"model = Checkpoint.open({str(tiny.directory)!r}); model.shape; model.transform.target_size(40, 50);"
        "assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
