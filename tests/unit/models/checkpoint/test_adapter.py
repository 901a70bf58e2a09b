"""LoRA adapters: ours and others', merged into their base wherever that lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import tiny_chat
from tests.helpers.hub import hub_server
from tests.helpers.tiny import ANSWERS, SHAPE, random_images, save_tiny_vilt, tiny_model
from tests.helpers.weights import to_pickles
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.start import describe_start
from vqa_ray.training.vqa import lora
from vqa_ray.training.vqa.export import export
from vqa_ray.training.vqa.initialise import start_from

# peft asks transformers for a property by the name it had before.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
QUESTIONS = [["what is it", "how many dogs"]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "cache"))


def adapted(base: str | None) -> Any:
    model = lora.adapt(tiny_model()[0], LoraConfig(rank=4, base=base))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "modules_to_save.default.3" in name:
                weight.normal_(generator=generator)
    return model.eval()


def write(directory: Path, base: str | None, *, adapter: bool = True) -> Path:
    export(str(directory), adapted(base), tiny_model()[1], SHAPE.transform, adapter=adapter)
    return directory


def answers(reference: Path | str) -> Any:
    model = ModelOptions(str(reference), device="cpu", dtype="float32").load()
    return [
        [(answer, pytest.approx(score, abs=1e-5)) for answer, score in row[0].answers]
        for row in model.answer(random_images(1), [[QUESTIONS[0][0]]], 3)
    ]


def test_an_exported_adapter_answers_as_the_merged_model_does(tmp_path: Path) -> None:
    base = save_tiny_vilt(tmp_path / "base")
    adapter = write(tmp_path / "adapter", str(base))
    info = Checkpoint.open(str(adapter))
    assert info.notes == (f"model {adapter}: a LoRA adapter, merged into its base {base}",)
    assert answers(adapter) == answers(write(tmp_path / "merged", None, adapter=False))
    assert answers(adapter) != answers(base)
    assert Checkpoint.open(str(adapter)).fingerprint == info.fingerprint != Checkpoint.open(str(base)).fingerprint


def test_the_answers_are_the_adapters_own(tmp_path: Path) -> None:
    """The base has another head, or none that answers."""
    base = save_tiny_vilt(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    weights = load_file(base / "model.safetensors")
    del weights["classifier.3.weight"], weights["classifier.3.bias"]
    config |= {"architectures": ["ViltForMaskedLM"], "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (base / "config.json").write_text(json.dumps(config))
    torch.save(weights, base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    adapter = write(tmp_path / "adapter", str(base))
    assert ModelOptions(str(adapter), device="cpu").load().labels == ANSWERS  # type: ignore[attr-defined]
    assert answers(adapter) == answers(write(tmp_path / "merged", None, adapter=False))


def test_training_goes_on_from_an_adapter(tmp_path: Path) -> None:
    base = save_tiny_vilt(tmp_path / "base")
    adapter = write(tmp_path / "adapter", str(base))
    merged = write(tmp_path / "merged", None, adapter=False)
    first, second = (
        start_from(describe_start(str(path)), AnswerVocabulary(ANSWERS)).model.state_dict()
        for path in (adapter, merged)
    )
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_a_base_lies_beside_the_adapter_or_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = save_tiny_vilt(tmp_path / "models" / "base")
    wanted = answers(write(tmp_path / "merged", None, adapter=False))
    assert answers(write(tmp_path / "models" / "adapter", "../base")) == wanted
    monkeypatch.chdir(tmp_path)
    assert answers(write(tmp_path / "other", "models/base")) == wanted
    with hub_server(tmp_path / "hf") as hub:
        hub.add("org/base", base)
        hub.add("org/adapter", write(tmp_path / "pushed", "org/base"))
        assert answers("org/adapter") == wanted
        assert "adapter_model.safetensors" in hub.downloads


def without_weights(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()


def with_setting(**changes: object) -> Callable[[Path], None]:
    def change(adapter: Path) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_weights, r"an adapter without weights; wanted adapter_model\.safetensors or adapter_model\.bin"),
        (
            with_setting(base_model_name_or_path=None),
            r"names no base model \(base_model_name_or_path of adapter_config",
        ),
        (
            with_setting(base_model_name_or_path="/gone/base"),
            "its base is not available: model /gone/base: no such dir",
        ),
        (with_setting(peft_type=None), r"which states no peft_type; those that are merged .* are LORA, ADALORA"),
        (with_setting(peft_type="PROMPT_TUNING"), r"of the kind 'PROMPT_TUNING'; .* are LORA, ADALORA"),
        (
            lambda adapter: (adapter / "adapter_model.safetensors").write_bytes(b""),
            r"adapter_model\.safetensors is empty",
        ),
    ],
)
def test_what_is_wrong_with_an_adapter_is_told(tmp_path: Path, change: Callable[[Path], Any], message: str) -> None:
    adapter = write(tmp_path / "adapter", str(save_tiny_vilt(tmp_path / "base")))
    change(adapter)
    with pytest.raises(ModelLoadError, match=message):
        Checkpoint.open(str(adapter))


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = write(tmp_path / "adapter", str(save_tiny_vilt(tmp_path / "base")))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match=r"needs a package that is missing: pip install 'vqa-ray\[lora\]'"):
        Checkpoint.open(str(adapter))


def test_an_adapter_of_another_network_is_told(tmp_path: Path) -> None:
    adapter = write(tmp_path / "adapter", str(save_tiny_vilt(tmp_path / "base")))
    with_setting(target_modules=["nothing_like_it"])(adapter)
    with pytest.raises(ModelLoadError, match="its LoRA adapter does not fit its base model"):
        ModelOptions(str(adapter)).load()


@pytest.mark.parametrize("pickled", [False, True])
def test_an_adapter_of_a_chat_model_brings_nothing_but_itself(tmp_path: Path, pickled: bool) -> None:
    from peft import LoraConfig, get_peft_model

    base = tiny_chat.save_tiny_chat(tmp_path / "base", "llava")
    model = get_peft_model(tiny_chat.tiny_chat("llava")[0], LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    model.peft_config["default"].base_model_name_or_path = str(base)
    adapter = tmp_path / "adapter"
    model.save_pretrained(adapter, save_embedding_layers=False)
    (adapter / "README.md").unlink(missing_ok=True)
    merged = tmp_path / "merged"
    tiny_chat.save_tiny_chat(merged, "llava")
    model.merge_and_unload().save_pretrained(merged)
    if pickled:
        to_pickles(base)
        torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
        (adapter / "adapter_model.safetensors").unlink()
    images = tiny_chat.random_images(1)
    first, second, plain = (
        ModelOptions(str(path), device="cpu", dtype="float32", max_new_tokens=5).load().answer(images, QUESTIONS, 1)
        for path in (adapter, merged, base)
    )
    assert [row.answers[0][0] for row in first[0]] == [row.answers[0][0] for row in second[0]]
    assert first != plain
