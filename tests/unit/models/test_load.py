"""References, layouts and every way in which a checkpoint can be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.helpers.tiny import ANSWERS, save_tiny_vilt
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.vilt.model import Vilt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vilt(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def edit_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_describes_and_loads_a_directory(whole: Path) -> None:
    info = Checkpoint.open(str(whole))
    assert (info.family_name, info.path) == ("vilt", whole)
    assert "sigmoid" in info.score_meaning
    model = ModelOptions(str(whole), device="cpu", dtype="float32").load()
    assert isinstance(model, Vilt)
    assert model.labels == ANSWERS
    assert Checkpoint.open(str(whole)).transform.target_size(100, 200) == (24, 48)


def test_loads_the_old_layout(broken: Path) -> None:
    """preprocessor_config.json with a bare size, vocab.txt instead of tokenizer.json."""
    nested = json.loads((broken / "processor_config.json").read_text())["image_processor"]
    nested["size"] = nested["size"]["shortest_edge"]
    (broken / "preprocessor_config.json").write_text(json.dumps(nested))
    vocabulary = json.loads((broken / "tokenizer.json").read_text())["model"]["vocab"]
    (broken / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    for name in ("processor_config.json", "tokenizer.json"):
        (broken / name).unlink()
    model = ModelOptions(str(broken), device="cpu", dtype="float32").load()
    assert isinstance(model, Vilt)
    assert Checkpoint.open(str(broken)).transform.target_size(64, 64) == (32, 32)


def test_the_fingerprint_follows_weights_and_vocabulary(whole: Path, broken: Path) -> None:
    assert Checkpoint.open(str(broken)).fingerprint == Checkpoint.open(str(whole)).fingerprint
    weights = load_file(broken / "model.safetensors")
    weights["classifier.3.bias"] += 1
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    changed = Checkpoint.open(str(broken)).fingerprint
    assert changed != Checkpoint.open(str(whole)).fingerprint
    edit_config(broken, id2label={str(i): f"answer {i}" for i in range(len(ANSWERS))})
    assert Checkpoint.open(str(broken)).fingerprint not in {changed, Checkpoint.open(str(whole)).fingerprint}


def test_a_model_without_answer_vocabulary_is_refused(broken: Path) -> None:
    edit_config(broken, id2label=None, label2id=None, num_labels=len(ANSWERS))
    with pytest.raises(ModelLoadError, match=r"has no answer vocabulary \(id2label\)"):
        Checkpoint.open(str(broken))


def test_the_vocabulary_is_known_without_the_weights(broken: Path) -> None:
    vocabulary = Checkpoint.open(str(broken)).vocabulary
    assert vocabulary is not None
    assert vocabulary.labels == ANSWERS
    assert vocabulary.known_choices(["golden retriever", " Yes", "zebra"]) == [True, True, False]
    assert Checkpoint.open("fake:").vocabulary is None


def test_missing_shards_are_named(broken: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    (broken / "model.safetensors").rename(broken / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelLoadError, match=r"incomplete, missing model-00002-of-00002\.safetensors"):
        Checkpoint.open(str(broken))


def test_partly_missing_weights_are_refused(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    del weights["classifier.3.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"incomplete, 1 missing, first classifier\.3\.weight"):
        ModelOptions(str(broken)).load()


def test_weights_cut_short_are_refused(broken: Path) -> None:
    whole_file = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole_file[: len(whole_file) // 2])
    with pytest.raises(ModelLoadError, match=f"model {broken}: "):
        ModelOptions(str(broken)).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, r"model_type 'bert' of config.json is not supported; there are vilt"),
        ({"architectures": ["ViltForMaskedLM"]}, r"ViltForMaskedLM of vilt is not supported, wanted Vilt"),
    ],
)
def test_other_models_are_named(broken: Path, changes: dict[str, object], message: str) -> None:
    edit_config(broken, **changes)
    with pytest.raises(ModelLoadError, match=message):
        Checkpoint.open(str(broken))


def test_wrong_references_say_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no such directory; allowed are bundled:NAME"):
        Checkpoint.open(str(tmp_path / "absent"))
    with pytest.raises(ModelLoadError, match=r"bundled:nonsense: no such bundled model"):
        Checkpoint.open("bundled:nonsense")
    with pytest.raises(ModelLoadError, match=r"config\.json is missing"):
        Checkpoint.open(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelLoadError, match="is a file, wanted a directory"):
        Checkpoint.open(str(tmp_path / "file"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelLoadError, match=r"config\.json is not JSON"):
        Checkpoint.open(str(tmp_path))


def test_the_hub_being_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelLoadError, match=r"model org/name@main: no such local directory; HF_HUB_OFFLINE is set"):
        Checkpoint.open("org/name@main")


def test_device_and_dtype_are_checked(whole: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"dtype 'float8' is not supported; there are bfloat16, float16, float32"):
        ModelOptions(str(whole), device="cpu", dtype="float8").load()
    with pytest.raises(ModelLoadError, match="device 'abacus' is not one torch knows"):
        ModelOptions(str(whole), device="abacus").load()
