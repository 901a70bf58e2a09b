"""What is told of a checkpoint before any work: its layout, tokenizer, vocabulary and processor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tiny_blip, tiny_chat, tiny_encoders, tiny_florence2
from tests.helpers.tiny import ANSWERS, random_images, save_tiny_vilt
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.files import locate
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.tokenizer_files import check_tokenizer
from vqa_ray.models.load import ModelOptions
from vqa_ray.training.config import CONTRASTIVE
from vqa_ray.training.start import describe_start


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vilt(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def remove_tokenizer(directory: Path) -> None:
    for file in (*directory.glob("tokenizer*"), *directory.glob("vocab*"), *directory.glob("merges*")):
        file.unlink()


@pytest.mark.parametrize("describe", [Checkpoint.open, describe_start], ids=["run", "training"])
def test_a_missing_tokenizer_is_told(broken: Path, describe: Callable[[str], object]) -> None:
    remove_tokenizer(broken)
    with pytest.raises(
        ModelLoadError, match=r"it has no tokenizer, so no question would be read: wanted tokenizer\.json"
    ):
        describe(str(broken))


@pytest.mark.parametrize(
    "build",
    [
        lambda path: tiny_blip.save(path, tiny_blip.blip("vqa")),
        lambda path: tiny_blip.save(path, tiny_blip.blip2("opt")),
        lambda path: tiny_encoders.save(path, tiny_encoders.clip()),
        lambda path: tiny_encoders.save(path, tiny_encoders.blip2()),
    ],
    ids=["blip", "blip-2", "clip", "blip-2 encoder"],
)
def test_every_family_wants_its_tokenizer(build: Callable[[Path], Path], tmp_path: Path) -> None:
    directory = build(tmp_path / "model")
    Checkpoint.open(str(directory))
    remove_tokenizer(directory)
    with pytest.raises(ModelLoadError, match="it has no tokenizer"):
        Checkpoint.open(str(directory))
    if json.loads((directory / "config.json").read_text())["model_type"] == "clip":
        with pytest.raises(ModelLoadError, match="it has no tokenizer"):
            describe_start(str(directory), CONTRASTIVE)


def test_instructblip_wants_two_tokenizers(tmp_path: Path) -> None:
    directory = tiny_blip.save(tmp_path / "model", tiny_blip.instructblip("llama"))
    Checkpoint.open(str(directory))
    remove_tokenizer(directory / "qformer_tokenizer")
    with pytest.raises(ModelLoadError, match="qformer_tokenizer/: it has no tokenizer"):
        Checkpoint.open(str(directory))
    shutil.rmtree(directory / "qformer_tokenizer")
    with pytest.raises(ModelLoadError, match="qformer_tokenizer/ is missing; its Q-Former reads the question"):
        Checkpoint.open(str(directory))


def test_an_empty_tokenizer_is_told(broken: Path) -> None:
    edit(broken / "tokenizer.json", lambda content: content["model"].update(vocab={"[PAD]": 0, "[UNK]": 1}))
    edit(broken / "tokenizer.json", lambda content: content.update(added_tokens=[]))
    with pytest.raises(ModelLoadError, match="its tokenizer is empty: it has 2 tokens"):
        Checkpoint.open(str(broken))
    (broken / "tokenizer.json").unlink()
    (broken / "vocab.txt").write_text("")
    with pytest.raises(ModelLoadError, match="its tokenizer is empty: it has 0 tokens"):
        Checkpoint.open(str(broken))
    (broken / "vocab.txt").unlink()
    (broken / "spiece.model").write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"its tokenizer is empty: spiece\.model has 0 bytes"):
        Checkpoint.open(str(broken))
    (broken / "spiece.model").unlink()
    (broken / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(ModelLoadError, match=r"vocab\.json is there, merges\.txt is missing"):
        Checkpoint.open(str(broken))


def test_a_tokenizer_of_another_model_is_told(broken: Path) -> None:
    size = json.loads((broken / "config.json").read_text())["vocab_size"]
    edit(broken / "tokenizer.json", lambda content: content["model"]["vocab"].update(stranger=size))
    with pytest.raises(
        ModelLoadError, match=rf"tokens up to id {size} \('stranger'\), the network has embeddings for {size}"
    ):
        Checkpoint.open(str(broken))


IDS = {str(index): answer for index, answer in enumerate(ANSWERS)}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {answer: int(index) for index, answer in IDS.items()},
            "has the key 'yes', which is no id; ids and labels are swap",
        ),
        (list(ANSWERS), r'is a list, expected an object \{"0": "answer", …\}'),
        ({**IDS, "3": ""}, "gives id 3 an empty label"),
        ({**IDS, "3": "yes"}, "gives ids 0 and 3 the same label 'yes'; expected each once"),
        ({**IDS, "3": None}, "gives id 3 the label None, expected a text"),
        (
            {str(int(index) + 1): answer for index, answer in IDS.items()},
            "has 6 entries but none for 0; expected one for",
        ),
        ({**IDS, "6": "seven"}, r"has 7 answers, the head of the network \(classifier\.3\.weight\) scores 6"),
    ],
    ids=["swapped", "list", "empty", "twice", "null", "one-based", "longer"],
)
@pytest.mark.parametrize("describe", [Checkpoint.open, describe_start], ids=["run", "training"])
def test_wrong_answer_vocabularies_are_told(
    broken: Path, labels: object, message: str, describe: Callable[[str], object]
) -> None:
    edit(broken / "config.json", lambda config: config.update(id2label=labels))
    with pytest.raises(ModelLoadError, match=message):
        describe(str(broken))


def test_a_missing_processor_is_told(broken: Path) -> None:
    (broken / "processor_config.json").unlink()
    for file in broken.glob("preprocessor_config.json"):
        file.unlink()
    with pytest.raises(ModelLoadError, match=r"no image processor: preprocessor_config\.json is missing"):
        Checkpoint.open(str(broken))


def test_byte_order_marks_are_taken(broken: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "cache"))
    for path in broken.glob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    image = random_images(1)
    first, second = (
        ModelOptions(str(path), device="cpu", dtype="float32").load().answer(image, [["what is it"]], 2)
        for path in (whole, broken)
    )
    assert first == second
    assert Checkpoint.open(str(broken)).fingerprint == Checkpoint.open(str(whole)).fingerprint
    assert (broken / "config.json").read_bytes().startswith(b"\xef\xbb\xbf")


ORIGINALS = [
    ({"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]}, "LLaVA", "llava-hf/llava-1.5-7b-hf"),
    ({"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]}, "LLaVA", "llava-hf/llava-1.5-7b-hf"),
    ({"model_type": "qwen", "architectures": ["QWenLMHeadModel"]}, "the first Qwen-VL", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ({"model_type": "florence2", "vision_config": {"model_type": "davit"}}, "Florence-2", "florence-community/"),
    ({"model_type": "phi3_v", "architectures": ["Phi3VForCausalLM"]}, "Phi-3-Vision", "Qwen/Qwen2.5-VL-3B-Instruct"),
    ({"architectures": ["CogVLMForCausalLM"]}, "CogVLM", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ({"model_type": "moondream1", "architectures": ["Moondream"]}, "moondream", "HuggingFaceTB/SmolVLM-Instruct"),
    ({"model_type": "minicpmv", "architectures": ["MiniCPMV"]}, "MiniCPM-V", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ({"model_type": "internvl_chat", "architectures": ["InternVLChatModel"]}, "InternVL", "OpenGVLab/InternVL3-8B-hf"),
    (
        {"model_type": "multi_modality", "architectures": ["MultiModalityCausalLM"]},
        "DeepSeek-VL",
        "deepseek-community/",
    ),
    (
        {"model_type": "never_heard_of", "auto_map": {"AutoModel": "modeling.Own"}},
        "code of its own repository",
        "llava",
    ),
]


@pytest.mark.parametrize(("config", "what", "instead"), ORIGINALS)
def test_original_layouts_are_named_with_a_successor(
    tmp_path: Path, config: dict[str, object], what: str, instead: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelLoadError) as refusal:
        Checkpoint.open(str(tmp_path))
    assert what in str(refusal.value)
    assert instead in str(refusal.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["checkpoint-9/config.json", "checkpoint-500/config.json"], "the newest is checkpoint-500: pass that"),
        (["model_index.json", "unet/config.json"], "is a diffusers pipeline"),
        (["open_clip_config.json", "open_clip_pytorch_model.bin"], "the model is in OpenCLIP's layout"),
        (["model-q4.gguf"], "the model is in GGUF"),
        (["onnx/model.onnx"], "the model is in ONNX"),
        (["model_base.pth"], r"model_base\.pth is in the layout of its authors' own code"),
        (["consolidated.safetensors", "params.json"], "in the layout of its authors' own code"),
        (["first/config.json", "second/config.json"], "there are models in it: first, second: pass one of them"),
        (["README.md"], r"config\.json is missing; wanted a directory in save_pretrained layout"),
    ],
)
def test_directories_without_a_config_are_told_what_they_are(tmp_path: Path, files: list[str], message: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    with pytest.raises(ModelLoadError, match=message):
        locate(str(tmp_path))


def test_a_vocabulary_has_one_token_a_line(broken: Path) -> None:
    """Some have tokens at which `str.splitlines` would part a line."""
    vocabulary = json.loads((broken / "tokenizer.json").read_text())["model"]["vocab"]
    words = [*sorted(vocabulary, key=vocabulary.get)[:-1], "a\u2028b"]
    (broken / "tokenizer.json").unlink()
    (broken / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    edit(broken / "config.json", lambda content: content.update(vocab_size=len(words)))
    check_tokenizer(broken, json.loads((broken / "config.json").read_text()), "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": "768"}, r"config\.json: Validation error for field 'hidden_size': .* expected int, got str"),
        ({"max_position_embeddings": None}, r"config\.json: Validation error for field 'max_position_embeddings'"),
    ],
)
def test_a_setting_of_a_wrong_type_is_told(broken: Path, change: dict[str, Any], message: str) -> None:
    edit(broken / "config.json", lambda content: content.update(change))
    with pytest.raises(ModelLoadError, match=message):
        ModelOptions.of(Checkpoint.open(str(broken))).load()


def test_odd_json_is_told(broken: Path) -> None:
    edit(broken / "config.json", lambda content: content.update(architectures=[5]))
    with pytest.raises(ModelLoadError, match="architecture 5 of vilt is not supported"):
        Checkpoint.open(str(broken))
    (broken / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelLoadError, match=r"config\.json is not JSON: nested too deeply"):
        Checkpoint.open(str(broken))
    (broken / "config.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    with pytest.raises(ModelLoadError, match=r"config\.json is a Git LFS pointer, not the file; run `git lfs pull`"):
        Checkpoint.open(str(broken))


@pytest.mark.parametrize(
    ("setting", "size", "least"),
    [
        *((name, size, 1) for name in ("patch_size", "hidden_size", "num_attention_heads") for size in (0, -4)),
        *((name, -4, 0) for name in ("intermediate_size", "type_vocab_size", "max_position_embeddings")),
        ("num_hidden_layers", 0, 1),
        ("num_channels", -4, 1),
        ("image_size", 0, 1),
        ("vocab_size", 0, 1),
    ],
)
def test_a_size_that_no_network_has_is_told(broken: Path, setting: str, size: int, least: int) -> None:
    edit(broken / "config.json", lambda content: content.update({setting: size}))
    for describe in (Checkpoint.open, describe_start):
        with pytest.raises(ModelLoadError, match=rf"config\.json: {setting} is {size}; it must be at least {least}$"):
            describe(str(broken))


@pytest.mark.parametrize(
    ("build", "part", "setting", "size"),
    [
        (lambda path: tiny_blip.save(path, tiny_blip.blip("vqa")), "vision_config", "patch_size", 0),
        (lambda path: tiny_blip.save(path, tiny_blip.blip2("opt")), "qformer_config", "num_attention_heads", 0),
        (lambda path: tiny_blip.save(path, tiny_blip.instructblip("llama")), "text_config", "head_dim", 0),
        (lambda path: tiny_encoders.save(path, tiny_encoders.clip()), "vision_config", "patch_size", 0),
        (lambda path: tiny_florence2.save(path, tiny_florence2.florence2()), "vision_config", "depths", [1, 0, 1, 1]),
        (lambda path: tiny_chat.save_tiny_chat(path, "llava"), "vision_config", "hidden_size", 0),
        (lambda path: tiny_chat.save_tiny_chat(path, "qwen2_vl"), "vision_config", "spatial_merge_size", 0),
    ],
)
def test_sizes_of_parts_are_looked_at(
    build: Callable[[Path], Path], part: str, setting: str, size: object, tmp_path: Path
) -> None:
    directory = build(tmp_path / "model")
    Checkpoint.open(str(directory))
    edit(directory / "config.json", lambda content: content[part].update({setting: size}))
    with pytest.raises(ModelLoadError, match=rf"config\.json: {part}\.{setting} is 0; it must be at least 1"):
        Checkpoint.open(str(directory))
