"""Weights as they lie in the world: pickles, shards, files that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers import tiny_blip, tiny_chat, tiny_encoders
from tests.helpers.tiny import random_images, save_tiny_vilt
from tests.helpers.weights import nearly, to_pickles
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weight_files import find_weights
from vqa_ray.models.load import ModelOptions

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 470054560\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vilt(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def answers(directory: Path) -> list[Any]:
    model = ModelOptions(str(directory), device="cpu", dtype="float32").load()
    return nearly(model.answer(random_images(2), [["what is it", "how many"], ["what colour"]], 2))


@pytest.mark.parametrize(("shards", "zipped"), [(1, True), (3, True), (1, False), (2, False)])
def test_pickled_weights_answer_as_safetensors_do(whole: Path, broken: Path, shards: int, zipped: bool) -> None:
    to_pickles(broken, shards=shards, zipped=zipped)
    info = Checkpoint.open(str(broken))
    assert info.notes == (f"model {broken}: weights are pickles, of which only tensors are read",)
    assert [file.suffix for file in find_weights(broken).files] == [".bin"] * shards
    assert answers(broken) == answers(whole)


def build_clip(directory: Path) -> Path:
    return tiny_encoders.save(directory, tiny_encoders.clip())


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "blip": lambda path: tiny_blip.save(path, tiny_blip.blip("vqa")),
    "blip-2 (opt)": lambda path: tiny_blip.save(path, tiny_blip.blip2("opt")),
    "blip-2 (t5)": lambda path: tiny_blip.save(path, tiny_blip.blip2("t5")),
    "instructblip": lambda path: tiny_blip.save(path, tiny_blip.instructblip("llama")),
    "llava": lambda path: tiny_chat.save_tiny_chat(path, "llava"),
    "qwen2_vl": lambda path: tiny_chat.save_tiny_chat(path, "qwen2_vl"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_generative_family_loads_pickles(family: str, tmp_path: Path) -> None:
    directory = FAMILIES[family](tmp_path / "model")
    images = tiny_blip.random_images(1) if "blip" in family else tiny_chat.random_images(1)
    given = {"device": "cpu", "dtype": "float32", "max_new_tokens": 3}
    first = nearly(ModelOptions(str(directory), **given).load().answer(images, [["what is it?"]], 1))
    to_pickles(directory, shards=2)
    assert nearly(ModelOptions(str(directory), **given).load().answer(images, [["what is it?"]], 1)) == first


@pytest.mark.parametrize(
    "build",
    [
        build_clip,
        lambda path: tiny_encoders.save(path, tiny_encoders.blip2()),
        lambda path: tiny_encoders.to_sentence_transformers(build_clip(path.with_name("inner")), path),
    ],
    ids=["clip", "blip-2", "sentence-transformers"],
)
def test_every_encoder_loads_pickles(build: Callable[[Path], Path], tmp_path: Path) -> None:
    directory = build(tmp_path / "model")
    first = ModelOptions(str(directory), device="cpu", dtype="float32").load_encoder().encode_texts(["a dog"])
    to_pickles(Checkpoint.open(str(directory)).path or directory)
    second = ModelOptions(str(directory), device="cpu", dtype="float32").load_encoder().encode_texts(["a dog"])
    assert first == pytest.approx(second, abs=1e-5)


def test_safetensors_go_before_pickles(broken: Path) -> None:
    (broken / "pytorch_model.bin").write_bytes(b"whatever")
    assert [file.name for file in find_weights(broken).files] == ["model.safetensors"]
    assert Checkpoint.open(str(broken)).notes == ()


def test_the_fingerprint_follows_pickled_weights(broken: Path) -> None:
    to_pickles(broken)
    first = Checkpoint.open(str(broken)).fingerprint
    tensors = torch.load(broken / "pytorch_model.bin", weights_only=True)
    tensors["classifier.3.bias"] += 1
    torch.save(tensors, broken / "pytorch_model.bin")
    assert Checkpoint.open(str(broken)).fingerprint != first


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("this ran",))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(
    broken: Path, zipped: bool, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    to_pickles(broken)
    torch.save(
        {"a": torch.zeros(1), "b": Evil()},
        broken / "pytorch_model.bin",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(
        ModelLoadError, match=r"holds more than tensors \((__builtin__|builtins)\.print\) and could run"
    ):
        Checkpoint.open(str(broken))
    assert capsys.readouterr().out == ""


def test_a_pickled_network_is_refused_by_its_class(broken: Path) -> None:
    to_pickles(broken)
    torch.save(torch.nn.Linear(1, 1), broken / "pytorch_model.bin")
    with pytest.raises(
        ModelLoadError, match=r"more than tensors \(torch\.nn\.modules\.linear\.Linear.*state_dict alone"
    ):
        Checkpoint.open(str(broken))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", r"is empty \(0 bytes\); copy or download it again"),
        (lambda data: LFS_POINTER, r"is a Git LFS pointer, not the weights; run `git lfs pull`"),
        (lambda data: data[: len(data) // 2], r"cut short.*; copy or download it again"),
        (lambda data: b"<html>" + data, r"(damaged|cut short).*; copy or download it again"),
    ],
    ids=["empty", "pointer", "half", "page"],
)
def test_files_that_are_no_weights_are_told_before_loading(
    broken: Path, name: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    if name.endswith(".bin"):
        to_pickles(broken)
    (broken / name).write_bytes(damage((broken / name).read_bytes()))
    with pytest.raises(
        ModelLoadError, match=rf"model {broken}: {name}:? {message}" if "cut" not in message else message
    ):
        Checkpoint.open(str(broken))


def test_an_index_is_checked(broken: Path) -> None:
    to_pickles(broken, shards=3)
    (broken / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(ModelLoadError, match=r"incomplete, missing pytorch_model-00002-of-00003\.bin \(1 of 3 files"):
        Checkpoint.open(str(broken))
    index = broken / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../secret.bin"}}))
    with pytest.raises(ModelLoadError, match=r"index\.json its weight_map names '\.\./\.\./secret\.bin'"):
        Checkpoint.open(str(broken))
    index.write_text("{}")
    with pytest.raises(ModelLoadError, match=r"index\.json has no weight_map"):
        Checkpoint.open(str(broken))
    index.unlink()
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin\.index\.json is missing, which says what is in"):
        Checkpoint.open(str(broken))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "model.fp16.safetensors",
            r"weights of a variant alone \(model\.fp16\.safetensors\); name the one to use model",
        ),
        ("model.safetensors.incomplete", r"download or copy is unfinished \(model\.safetensors\.incomplete\)"),
        ("model.gguf", "the model is in GGUF, for llama.cpp"),
        ("model.onnx", "the model is in ONNX; take the model it was exported from"),
        ("tf_model.h5", "the model is for TensorFlow alone"),
        ("flax_model.msgpack", "the model is for Flax alone"),
        ("open_clip_pytorch_model.bin", "the model is in OpenCLIP's layout"),
        ("model_base_vqa_capfilt_large.pth", r"capfilt_large\.pth is in the layout of its authors' own code"),
        ("training_args.bin", r"no weights; wanted model\.safetensors or pytorch_model\.bin"),
    ],
)
def test_other_weights_are_told_by_name(broken: Path, file: str, message: str) -> None:
    (broken / "model.safetensors").rename(broken / file)
    with pytest.raises(ModelLoadError, match=message):
        Checkpoint.open(str(broken))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(broken: Path, number: float) -> None:
    weights = load_file(broken / "model.safetensors")
    weights["classifier.3.bias"][1] = number
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"classifier\.3\.bias holds numbers that are not finite"):
        ModelOptions(str(broken)).load()
