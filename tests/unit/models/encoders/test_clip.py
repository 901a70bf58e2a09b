"""CLIP: what its checkpoints may say, and the guards against being silently wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from tests.helpers import tiny_encoders
from tests.helpers.s3 import s3_bucket
from tests.helpers.tiny_blip import SIDE
from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.encoders.clip import ClipEncoder
from vqa_ray.models.encoders.shape import clip_shape
from vqa_ray.models.layers.vision_encoder import vision_layers
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.storage.filesystem import filesystem_for
from vqa_ray.types import EmbeddingShape

SIDES = st.integers(1, 5_000)


@pytest.fixture(scope="module")
def built() -> tuple[Any, Any]:
    return tiny_encoders.clip()


@pytest.fixture(scope="module")
def directory(built: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoders.save(tmp_path_factory.mktemp("clip"), built)


@pytest.fixture
def broken(directory: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(directory, tmp_path / "model"))


def load(directory: Path) -> ClipEncoder:
    return ClipEncoder.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32")


def edit(path: Path, part: str, **changes: object) -> None:
    settings = json.loads(path.read_text("utf-8"))
    settings[part] |= changes
    path.write_text(json.dumps(settings), "utf-8")


def same_as_stock(built: tuple[Any, Any], encoder: ClipEncoder) -> None:
    model, processor = built
    images = tiny_encoders.photos(4, seed=5)
    inputs = processor(
        images=list(map(PillowImage.fromarray, images)),
        text=[*tiny_encoders.TEXTS],
        return_tensors="pt",
        padding=True,
    )
    with torch.no_grad():
        stock = model(**inputs)
    np.testing.assert_allclose(encoder.encode_images(images), stock.image_embeds, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(tiny_encoders.TEXTS), stock.text_embeds, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "gelu_pytorch_tanh", "relu"])
def test_other_activations(tmp_path: Path, activation: str) -> None:
    built = tiny_encoders.clip(hidden_act=activation)
    encoder = load(tiny_encoders.save(tmp_path, built))
    same_as_stock(built, encoder)
    assert (vision_layers(built[0].vision_model) is None) is (activation == "relu")


def test_patches_that_leave_a_rest_at_the_edge(tmp_path: Path) -> None:
    built = tiny_encoders.clip(patch_size=7)
    same_as_stock(built, load(tiny_encoders.save(tmp_path, built)))


def test_old_configs_read_a_text_at_its_highest_id(tmp_path: Path) -> None:
    built = tiny_encoders.clip(old=True)
    same_as_stock(built, load(tiny_encoders.save(tmp_path, built)))


def test_the_old_layout_of_the_processor(built: tuple[Any, Any], broken: Path) -> None:
    settings = json.loads((broken / "processor_config.json").read_text("utf-8"))["image_processor"]
    settings |= {"size": SIDE, "crop_size": SIDE, "feature_extractor_type": "CLIPFeatureExtractor"}
    (broken / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    (broken / "processor_config.json").unlink()
    same_as_stock(built, load(broken))


def test_a_tokenizer_that_closes_texts_elsewhere_is_refused(broken: Path) -> None:
    """Stock transformers would read all texts at their first token, and find them alike."""
    edit(broken / "config.json", "text_config", eos_token_id=7)
    with pytest.raises(ModelLoadError, match=r"closes a text with the id \d+, text_config.eos_token_id of .* is 7"):
        load(broken)


@settings(deadline=None)
@given(SIDES, SIDES)
def test_sizes_are_those_of_the_stock_processor(height: int, width: int) -> None:
    from transformers.image_transforms import get_resize_output_image_size

    if max(height, width) > 20 * min(height, width):
        with pytest.raises(RowError) as caught:
            ClipTransform().target_size(height, width)
        assert caught.value.code is ErrorCode.IMAGE_ASPECT_RATIO
        return
    source = np.empty((height, width, 0), np.uint8)
    wanted = get_resize_output_image_size(source, 224, default_to_square=False, input_data_format="channels_last")
    assert ClipTransform().target_size(height, width) == wanted


def test_a_processor_may_resize_to_a_square() -> None:
    square = {"size": {"height": 48, "width": 48}, "do_center_crop": False, "resample": 2}
    transform = ClipTransform.from_config(square, "model x")
    assert transform.target_size(10, 9_000) == (48, 48)
    assert (transform.crop, transform.resample) == (48, "bilinear")
    assert ClipTransform.from_config({"size": 336, "crop_size": 300}, "model x").target_size(400, 200) == (672, 336)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_center_crop": False}, "do_center_crop is false and size is .*images would keep their shapes"),
        ({"crop_size": {"height": 224, "width": 200}}, r"crop_size is \{.*wanted a number or .* a square"),
        ({"crop_size": 256}, "crop_size 256 is larger than size 224"),
        ({"size": {"height": 64, "width": 64}}, "size is 64 and crop_size 224; of a square they must be equal"),
        ({"size": {"longest_edge": 64}}, "size is .*longest_edge"),
        ({"size": "large"}, "size is 'large', wanted a number"),
        ({"resample": 1}, r"resample is 1, only 2 \(bilinear\), 3 \(bicubic\) are supported"),
        ({"do_normalize": False}, "do_normalize is false"),
        ({"rescale_factor": 1.0}, "rescale_factor is 1.0, only 1/255 is supported"),
        ({"image_mean": 0.5}, "image_mean is 0.5, wanted three numbers"),
    ],
)
def test_a_processor_that_does_something_else_is_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ModelLoadError, match=f"^model x: {message}"):
        ClipTransform.from_config(config, "model x")


def test_a_size_that_is_none_is_refused() -> None:
    assert clip_shape({}, "model x") == EmbeddingShape(1, 512)
    with pytest.raises(ModelLoadError, match=r"model x: projection_dim of config.json is 0, wanted a positive number"):
        clip_shape({"projection_dim": 0}, "model x")


def test_a_directory_of_sentence_transformers(built: tuple[Any, Any], directory: Path, tmp_path: Path) -> None:
    whole = tiny_encoders.to_sentence_transformers(directory, tmp_path / "st")
    info = Checkpoint.open(str(whole))
    assert (info.family_name, info.path) == ("clip", whole / "0_CLIPModel")
    assert info.fingerprint == Checkpoint.open(str(directory)).fingerprint
    assert Checkpoint.open(str(whole)).shape == EmbeddingShape(1, tiny_encoders.DIMENSION)
    encoder = ModelOptions(str(whole), device="cpu", dtype="float32").load_encoder()
    assert isinstance(encoder, ClipEncoder)
    same_as_stock(built, encoder)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [("0_Transformer", "models.Transformer"), ("1_Pooling", "models.Pooling")],
            "modules.json lists Transformer, Pooling; of sentence-transformers directories those of one CLIPModel",
        ),
        ([("../model", "models.CLIPModel")], "modules.json leads out of the directory, to '../model'"),
        ([("elsewhere", "models.CLIPModel")], r"elsewhere: config\.json is missing"),
        ([], "modules.json is not one of sentence-transformers"),
    ],
)
def test_other_directories_of_sentence_transformers_are_refused(
    directory: Path, tmp_path: Path, modules: list[tuple[str, str]], message: str
) -> None:
    whole = tiny_encoders.to_sentence_transformers(directory, tmp_path / "st")
    listed = [{"path": path, "type": f"sentence_transformers.{kind}"} for path, kind in modules]
    (whole / "modules.json").write_text(json.dumps(listed), "utf-8")
    with pytest.raises(ModelLoadError, match=message):
        Checkpoint.open(str(whole))


def test_vectors_are_normalised_anyway(directory: Path, tmp_path: Path) -> None:
    whole = tiny_encoders.to_sentence_transformers(directory, tmp_path / "st")
    kinds = [("0_CLIPModel", "CLIPModel"), ("1_Normalize", "Normalize")]
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (whole / "modules.json").write_text(json.dumps(listed), "utf-8")
    assert Checkpoint.open(str(whole)).family_name == "clip"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("encoders") as uri:
        yield uri


def test_such_a_directory_is_copied_from_object_storage_once(
    directory: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "cache"))
    whole = tiny_encoders.to_sentence_transformers(directory, tmp_path / "st")
    filesystem, root = filesystem_for(f"{bucket}/st")
    for file in sorted(path for path in whole.rglob("*") if path.is_file()):
        with filesystem.open_output_stream(f"{root}/{file.relative_to(whole)}") as sink:
            sink.write(file.read_bytes())
    info = Checkpoint.open(f"{bucket}/st")
    assert info.fingerprint == Checkpoint.open(str(directory)).fingerprint
    assert info.path is not None
    copied = info.path / "config.json"
    written = copied.stat().st_mtime_ns
    assert Checkpoint.open(f"{bucket}/st").path == info.path
    assert copied.stat().st_mtime_ns == written
