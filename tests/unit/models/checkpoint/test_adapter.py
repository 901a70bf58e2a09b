"""LoRA adapters: ours and others', merged into their base wherever that lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers import tiny_chat
from tests.helpers.hub import hub_server
from tests.helpers.tiny import ANSWERS, SHAPE, random_images, save_tiny_vilt, tiny_model
from tests.helpers.tiny_adapter import merge, save_adapter
from tests.helpers.weights import to_pickles
from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.chat.vllm_adapter import adapter_options
from vqa_ray.models.chat.vllm_adapter import check_adapter as check_vllm_adapter
from vqa_ray.models.checkpoint.adapter import adapter_of
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
        ModelOptions(str(adapter)).check()


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


def chat_answers(reference: Path, lora: str | None = None) -> list[str]:
    options = ModelOptions(str(reference), device="cpu", dtype="float32", max_new_tokens=5, lora=lora)
    answered = options.load().answer(tiny_chat.random_images(2), QUESTIONS * 2, 1)
    return [answer.answers[0][0] for row in answered for answer in row]


def test_an_adapter_put_on_a_model_is_the_merged_model(tmp_path: Path) -> None:
    base = tiny_chat.save_tiny_chat(tmp_path / "base", "qwen2_vl")
    adapter = save_adapter(tmp_path / "adapter", base)
    merged = merge(tmp_path / "merged", base, adapter)
    plain = chat_answers(base)
    assert chat_answers(base, f"mine={adapter}") == chat_answers(merged) != plain
    opened = Checkpoint.open(str(base), lora=f"mine={adapter}")
    assert opened.notes[-1] == f"model {base}: with the LoRA adapter mine of {adapter}"
    assert ModelOptions.of(opened).lora == f"mine={adapter}", "workers put it on too"
    other = Checkpoint.open(str(base), lora=str(save_adapter(tmp_path / "other", base, seed=1)))
    assert len({opened.fingerprint, other.fingerprint, Checkpoint.open(str(base)).fingerprint}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda adapter, base: (adapter / "adapter_config.json").unlink(), "no LoRA adapter; wanted a directory with"),
        (lambda adapter, base: (adapter / "adapter_model.safetensors").unlink(), "an adapter without weights"),
        (lambda adapter, base: _set_rank(adapter, 8), r"adapter_config.json states rank 8, the weights of .* rank 2"),
        (
            lambda adapter, base: _replace(adapter, "lora_A", torch.zeros(2, 48)),
            r"trained on another model: .*q_proj is 32 x 48 there, and 32 x 32",
        ),
        (
            lambda adapter, base: _replace(adapter, "lora_A", torch.zeros(3, 32)),
            r"the parts of its adapter for model.language_model.layers.0.self_attn.q_proj have the ranks 3 and 2",
        ),
        (lambda adapter, base: _set_rank(adapter, 2, peft_type="IA3"), "of the kind 'IA3'"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_before_any_weights_are_read(
    tmp_path: Path, change: Callable[[Path, Path], None], message: str
) -> None:
    base = tiny_chat.save_tiny_chat(tmp_path / "base", "qwen2_vl")
    adapter = save_adapter(tmp_path / "adapter", base)
    change(adapter, base)
    with pytest.raises(ModelLoadError, match=rf"^--lora mine=.*{message}"):
        Checkpoint.open(str(base), lora=f"mine={adapter}")


def test_models_without_weights_take_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--lora a=b: model fake has no weights here"):
        Checkpoint.open("fake:", lora="a=b")
    with pytest.raises(ModelLoadError, match="--lora a=nowhere: model nowhere"):
        Checkpoint.open(str(tiny_chat.save_tiny_chat(tmp_path / "base", "qwen2_vl")), lora="a=nowhere")


def test_what_vllm_cannot_adapt_is_refused(tmp_path: Path) -> None:
    base = tiny_chat.save_tiny_chat(tmp_path / "base", "qwen2_vl")
    fits = Checkpoint.open(str(base), lora=str(save_adapter(tmp_path / "adapter", base)))
    check_vllm_adapter(fits, "--engine vllm")
    assert adapter_options(adapter_of(fits.directory)) == {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}
    vision = Checkpoint.open(str(base), lora=str(save_adapter(tmp_path / "vision", base, within="visual")))
    with pytest.raises(RequestError, match=r"changes model.visual.layers.0.*vLLM adapts the language model alone"):
        check_vllm_adapter(vision, "--engine vllm")
    large = Checkpoint.open(str(base), lora=str(save_adapter(tmp_path / "large", base, rank=600)))
    with pytest.raises(RequestError, match="has rank 600, and vLLM takes at most 512"):
        check_vllm_adapter(large, "--engine vllm")


def _set_rank(adapter: Path, rank: int, **more: str) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"r": rank, **more}))


def _replace(adapter: Path, part: str, tensor: torch.Tensor) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = {name: tensor.clone() if part in name else each for name, each in load_file(file).items()}
    save_file(tensors, file)
