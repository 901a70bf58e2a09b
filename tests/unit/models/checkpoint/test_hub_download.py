"""Models of a hub, through the loopback stand-in: which revision, which files, and what a person is told."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from tests.helpers import tiny_encoders
from tests.helpers.hub import TOKEN, Hub, hub_server
from tests.helpers.tiny import ANSWERS, random_images, save_tiny_vilt
from tests.helpers.weights import nearly, to_pickles
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.files import locate
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.training.initial_model import InitialModelConfig, write_initial_model
from vqa_ray.training.start import describe_start
from vqa_ray.training.vqa.initialise import start_from

NAME = "org/vilt"
SMALL = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "vqa-ray"))
    monkeypatch.chdir(tmp_path)
    with hub_server(tmp_path / "cache") as served:
        yield served


@pytest.fixture
def vilt(tmp_path: Path) -> Path:
    return save_tiny_vilt(tmp_path / "source")


@pytest.fixture
def pickled(vilt: Path, tmp_path: Path) -> tuple[Path, bytes]:
    """A checkpoint of pickles, and its weights as safetensors."""
    converted = (vilt / "model.safetensors").read_bytes()
    return to_pickles(vilt), converted


def answers(reference: str) -> Any:
    model = ModelOptions(reference, device="cpu", dtype="float32").load()
    return nearly(model.answer(random_images(1), [["what is it"]], 2))


def reason(reference: str) -> str:
    with pytest.raises(ModelLoadError) as refusal:
        locate(reference)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_safetensors_are_fetched_and_nothing_beside_them(hub: Hub, vilt: Path) -> None:
    (vilt / "pytorch_model.bin").write_bytes(b"not fetched")
    (vilt / "tf_model.h5").write_bytes(b"not fetched")
    (vilt / "onnx").mkdir()
    (vilt / "onnx/config.json").write_text("{}")
    hub.add(NAME, vilt)
    info = Checkpoint.open(NAME)
    assert hub.downloads == sorted([*SMALL, "model.safetensors"])
    assert info.notes == ()
    assert info.fingerprint == Checkpoint.open(str(vilt)).fingerprint
    asked = len(hub.requests)
    ModelOptions.of(info, device="cpu").load()
    assert len(hub.requests) == asked


def test_a_worker_reads_the_revision_that_the_command_resolved(hub: Hub, vilt: Path) -> None:
    hub.add(NAME, vilt)
    first = hub.repositories[NAME].refs["main"].sha
    opened = Checkpoint.open(NAME)
    assert opened.revisions == {NAME: first}
    assert opened.pinned == f"{NAME}@{first}"
    config = json.loads((vilt / "config.json").read_text())
    changed = json.dumps({**config, "id2label": {str(i): f"other {i}" for i in range(len(ANSWERS))}})
    hub.commit(NAME, {"config.json": changed.encode()})
    hub.requests.clear()
    options = pickle.loads(pickle.dumps(ModelOptions(NAME, device="cpu", revisions=opened.revisions)))
    assert options.load().labels == ANSWERS
    assert not [line for line in hub.requests if "main" in line]
    assert Checkpoint.open(NAME).vocabulary.labels[0] == "other 0"  # type: ignore[union-attr]
    assert hub.downloads == ["config.json"]


def test_a_worker_reads_the_base_of_an_adapter_at_its_revision(hub: Hub, vilt: Path, tmp_path: Path) -> None:
    hub.add("org/base", vilt)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file({"base_model.model.x": torch.zeros(1)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    )
    opened = Checkpoint.open(str(adapter))
    assert opened.revisions == {"org/base": hub.repositories["org/base"].refs["main"].sha}
    hub.commit("org/base", {"config.json": b"{}"})
    assert Checkpoint.open(str(adapter), opened.revisions) == opened


def test_a_conversion_of_the_bot_goes_before_pickles(hub: Hub, pickled: tuple[Path, bytes]) -> None:
    hub.add(NAME, pickled[0])
    hub.open_pull_request(NAME, {"model.safetensors": b"x"}, author="somebody")
    hub.open_pull_request(NAME, {"model.safetensors": b"x"}, title="Another title")
    hub.open_pull_request(NAME, {"model.safetensors": b"x"}, status="closed")
    hub.open_pull_request(NAME, {"model.safetensors": pickled[1]})
    info = Checkpoint.open(NAME)
    told = (
        f"model {NAME}: weights: the hub's own conversion to safetensors (refs/pr/4), in place of the pickles of main"
    )
    assert info.notes == (told,)
    assert hub.downloads == sorted([*SMALL, "model.safetensors"])
    assert not [line for line in hub.requests if line.startswith("POST")]
    assert ModelOptions(NAME, device="cpu").load().labels == ANSWERS  # type: ignore[attr-defined]
    assert start_from(describe_start(NAME), AnswerVocabulary(ANSWERS)).model.num_labels == len(ANSWERS)


def test_a_training_starts_from_the_commit_that_was_described(hub: Hub, vilt: Path, tmp_path: Path) -> None:
    first = hub.add(NAME, vilt).refs["main"].sha
    info = describe_start(NAME)
    assert info.pinned == f"{NAME}@{first}"
    later = (vilt / "config.json").read_text().replace('"yes"', '"maybe"')
    hub.commit(NAME, {"config.json": later.encode()})
    assert describe_start(NAME).pinned != info.pinned
    requests = len(hub.requests)
    write_initial_model(str(tmp_path / "start"), InitialModelConfig(info, 100, 0), AnswerVocabulary(ANSWERS), ())
    assert len(hub.requests) == requests, "the files that were described are read, the hub is not asked again"


def test_a_repository_as_the_first_vilts_lie_there(hub: Hub, pickled: tuple[Path, bytes]) -> None:
    """Pickles, the image settings with a bare size, and a word list in place of tokenizer.json."""
    directory, converted = pickled
    images = json.loads((directory / "processor_config.json").read_text())["image_processor"]
    images |= {"size": images["size"]["shortest_edge"], "feature_extractor_type": "ViltFeatureExtractor"}
    (directory / "preprocessor_config.json").write_text(json.dumps(images))
    vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    (directory / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    for name in ("processor_config.json", "tokenizer.json"):
        (directory / name).unlink()
    hub.add(NAME, directory)
    first = answers(NAME)
    hub.add("org/converted", directory)
    hub.open_pull_request("org/converted", {"model.safetensors": converted})
    assert answers("org/converted") == first
    assert {"pytorch_model.bin", "model.safetensors", "vocab.txt"} <= set(hub.downloads)


def test_a_conversion_of_an_older_main_is_left_alone(hub: Hub, pickled: tuple[Path, bytes]) -> None:
    hub.add(NAME, pickled[0])
    hub.open_pull_request(NAME, {"model.safetensors": pickled[1]})
    hub.commit(NAME, {"pytorch_model.bin": (pickled[0] / "pytorch_model.bin").read_bytes()})
    assert Checkpoint.open(NAME).notes == (f"model {NAME}: weights are pickles, of which only tensors are read",)


@pytest.mark.parametrize("shards", [1, 3])
def test_pickles_are_fetched_where_there_is_nothing_else(hub: Hub, vilt: Path, shards: int) -> None:
    hub.add(NAME, to_pickles(vilt, shards=shards))
    ModelOptions(NAME, device="cpu").load()
    assert len([file for file in hub.downloads if file.endswith(".bin")]) == shards


def test_a_named_revision_is_taken_as_it_is(hub: Hub, pickled: tuple[Path, bytes]) -> None:
    hub.add(NAME, pickled[0])
    ref = hub.open_pull_request(NAME, {"model.safetensors": pickled[1]}, author="somebody")
    commit = hub.repositories[NAME].refs["main"].sha
    assert "weights are pickles" in Checkpoint.open(f"{NAME}@{commit}").notes[0]
    assert Checkpoint.open(f"{NAME}@{ref}").notes == ()


def test_a_hub_without_pull_requests_gives_its_pickles(hub: Hub, pickled: tuple[Path, bytes]) -> None:
    hub.add(NAME, pickled[0])
    hub.failures["/discussions"] = 403
    first, second = Checkpoint.open(NAME).notes
    assert first.startswith(f"model {NAME}: conversions to safetensors cannot be listed (")
    assert "weights are pickles" in second


def test_what_was_fetched_is_found_again_without_a_network(
    hub: Hub, pickled: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, pickled[0])
    hub.open_pull_request(NAME, {"model.safetensors": pickled[1]})
    first = Checkpoint.open(NAME)
    hub.failures[""] = 503
    assert Checkpoint.open(NAME) == first
    hub.failures.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Checkpoint.open(NAME) == first


def test_a_repository_of_sentence_transformers(hub: Hub, tmp_path: Path) -> None:
    inner = tiny_encoders.save(tmp_path / "clip", tiny_encoders.clip())
    hub.add("org/clip", tiny_encoders.to_sentence_transformers(to_pickles(inner), tmp_path / "st"))
    ModelOptions("org/clip", device="cpu").load_encoder()
    assert [file for file in hub.downloads if file.endswith(".bin")] == ["0_CLIPModel/pytorch_model.bin"]


def test_other_layouts_are_refused_before_their_weights_are_fetched(hub: Hub, vilt: Path) -> None:
    config = b'{"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]}'
    hub.add("org/llava", {"config.json": config, "pytorch_model.bin": b"x" * 100})
    assert "original LLaVA code's layout" in reason("org/llava")
    hub.add("org/gguf", {"README.md": b"", "model-q4.gguf": b"x"})
    assert reason("org/gguf").startswith("model org/gguf: config.json is missing: the model is in GGUF")
    hub.add("org/onnx", {"config.json": (vilt / "config.json").read_bytes(), "onnx/model.onnx": b"x"})
    assert "the model is in ONNX" in reason("org/onnx")
    hub.add(
        "org/part", {"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": {"a": "b.safetensors"}}'}
    )
    assert "weights are incomplete, missing b.safetensors" in reason("org/part")
    assert not [file for file in hub.downloads if not file.endswith(".json")]


def test_failures_of_the_hub_are_one_line_each(hub: Hub, vilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, vilt)
    hub.add("org/private", vilt, private=True)
    hub.add("org/gated", vilt, gated=True)
    assert reason("org/absent") == reason("org/private").replace("org/private", "org/absent")
    assert f"no such repository at {hub.url}, or a private one: check the name; a private one needs" in reason(
        "org/absent"
    )
    assert f"is gated: accept its terms at {hub.url}/org/gated, then log in" in reason("org/gated")
    assert f"model {NAME}@v9: {NAME} has no revision 'v9': expected a branch" in reason(f"{NAME}@v9")
    for status, told in ((429, "takes no more requests"), (500, "failed with status 500"), (403, "refuses (403)")):
        hub.failures = {"": status}
        assert told in reason(NAME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "and the hub at http://127.0.0.1:1 cannot be reached: " in reason(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set and the model is not, or not wholly, in " in reason(NAME)


def test_a_token_opens_what_is_private(hub: Hub, vilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/private", vilt, private=True, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert Checkpoint.open("org/private").family_name == "vilt"


def test_addresses_of_pages_are_told_the_name() -> None:
    for page, name in (
        ("https://huggingface.co/org/name", "org/name"),
        ("https://huggingface.co/org/name/tree/v1", "org/name@v1"),
    ):
        with pytest.raises(ModelLoadError, match=re.escape(f"is a page of the hub; its models are named {name},")):
            locate(page)
