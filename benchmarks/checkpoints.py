"""Checkpoints with random weights of a true shape, built once and kept in the cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.wordpiece import build_tokenizer, save_checkpoint
from vqa_ray.training.vqa.network import build_vilt
from vqa_ray.training.vqa.shape import ViltShape

QUESTIONS = (
    "what is in the picture?",
    "is there a dog in this picture?",
    "what colour is the shirt on the left?",
    "how many people are there?",
    "what is the person in the middle holding?",
    "is the bottle next to the box full or empty?",
    "what kind of product is shown here?",
    "is it striped?",
    "which fruit is in front of the other ones?",
    "does the hat have a picture of an animal printed on it?",
)

BUNDLED = "bundled:catalog-vilt"
# The shape of dandelin/vilt-b32-finetuned-vqa, and its number of answers.
B32 = ViltShape(
    hidden_size=768, layers=12, heads=12, intermediate_size=3072, patch_size=32, shortest_edge=384, max_text_tokens=40
)
B32_ANSWERS = 3_129
SMALL = ViltShape()
_TINY_B32 = ViltShape(hidden_size=64, layers=2, heads=4, intermediate_size=128, patch_size=32, shortest_edge=384)
# Weights are drawn with this times 1/√(inputs): logits then have a standard deviation of about 1, and differ between
# images as well as between questions.
_GAIN = 1.6
_RECIPE = 1


def vilt_b32(quick: bool) -> Path:
    """Return a directory of ViLT-B/32 with random weights; as many tokens but narrow and shallow when `quick`."""
    return _built("vilt-tiny" if quick else "vilt-b32", _TINY_B32 if quick else B32, B32_ANSWERS)


def small_vilt() -> Path:
    """Return a directory of a ViLT of the bundled model's shape, with random weights."""
    return _built("vilt-small", SMALL, 64)


def small_model(quick: bool) -> str:
    """Return the reference of a small model: the bundled one where there is one, else its shape with random weights."""
    return BUNDLED if not quick and has_bundled() else str(small_vilt())


def small_directory(quick: bool) -> Path:
    """Where the files of `small_model` lie."""
    from vqa_ray.models.checkpoint.files import local_directory

    return local_directory(small_model(quick))


def has_bundled() -> bool:
    """Whether the bundled model is in the package."""
    from vqa_ray.models.checkpoint.files import bundled_names

    return BUNDLED.partition(":")[2] in bundled_names()


def clip_b32(quick: bool) -> Path:
    """Return a directory of CLIP ViT-B/32 with random weights; as many tokens but narrow and shallow when `quick`."""
    return _kept("clip-tiny" if quick else "clip-b32", lambda directory: _save_clip(directory, quick))


def _built(name: str, shape: ViltShape, answers: int) -> Path:
    def build(directory: Path) -> None:
        tokenizer = build_tokenizer(" ".join(QUESTIONS).split(), shape.max_text_tokens)
        vocabulary = ["yes", "no", *(f"answer {index}" for index in range(2, answers))]
        model = build_vilt(shape, len(tokenizer), vocabulary, seed=0)
        _draw_weights(model)
        save_checkpoint(directory, model, tokenizer, shape.transform)

    return _kept(name, build)


def _kept(name: str, build: Callable[[Path], None]) -> Path:
    """Return what `build` writes into a directory, kept in the cache."""
    root = Path(os.environ.get("VQA_RAY_CACHE", Path.home() / ".cache" / "vqa-ray")) / "benchmarks"
    target = root / f"{name}-{_RECIPE}"
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=root))
    build(staged)
    try:
        staged.rename(target)
    except OSError:
        # Another process finished the same directory first.
        shutil.rmtree(staged)
    return target


def _save_clip(directory: Path, quick: bool) -> None:
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[])
    narrow = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128}
    small = narrow if quick else {}
    closing = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config={**closing, **small}, vision_config=small)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                table = "token_embedding" in name or "position_embedding" in name
                parameter.normal_(0, 0.3 if table else _GAIN * parameter[0].numel() ** -0.5)
    model.save_pretrained(directory)
    CLIPProcessor(CLIPImageProcessorPil(), tokenizer).save_pretrained(directory)


def _draw_weights(model: Any) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                continue
            if "embeddings" in name and "projection" not in name:
                parameter.normal_(0, 1.0 if "word" in name else 0.3, generator=generator)
            else:
                gain = 1.0 if "projection" in name else _GAIN
                parameter.normal_(0, gain * parameter[0].numel() ** -0.5, generator=generator)
