"""Tiny CLIP, SigLIP and BLIP-2 ITC checkpoints: random weights, locally built tokenizers, the hub's layout."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.tiny_blip import _QFORMER, _VISION, QUERY_TOKENS, SIDE, draw_weights
from tests.helpers.wordpiece import build_tokenizer
from vqa_ray.types import Image

DIMENSION = 24
TEXT_TOKENS = 40
_LINES = (
    "a photo of a red mug with a dog",
    "two cats laying on a pink blanket",
    "the blue bottle next to the box is empty",
    "a picture of a striped shirt on the left",
)
TEXTS = (*_LINES, "", "DOG", "naïve café, über-cool!", "a")
LONG_TEXT = " ".join(_LINES * 2)
_LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 48}


def clip_tokenizer() -> Any:
    """Byte pairs with an end-of-word mark, learnt from a few lines."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(_LINES, trainer)
    model = json.loads(learner.to_str())["model"]
    pieces = list(model["vocab"])
    pieces += [f"{letter}</w>" for letter in alphabet if f"{letter}</w>" not in model["vocab"]]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    merges = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=merges)


def clip(seed: int = 0, *, old: bool = False, **vision: object) -> tuple[Any, Any]:
    """(model, processor) of CLIP; `old` as OpenAI's first configs, which read a text at its highest id."""
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = clip_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": 2 if old else tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": TEXT_TOKENS, **ids, **_LAYERS}
    config = CLIPConfig(
        text_config=text,
        vision_config={**_LAYERS, "image_size": SIDE, "patch_size": 8, **vision},
        projection_dim=DIMENSION,
    )
    model = CLIPModel(config).eval()
    draw_weights(model, seed, 1.5)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return model, CLIPProcessor(images, tokenizer)


def siglip(
    seed: int = 0, *, resample: int = 3, text: dict[str, Any] | None = None, **vision: object
) -> tuple[Any, Any]:
    """(model, processor) of SigLIP; `resample` 2 as SigLIP 2."""
    import sentencepiece
    from transformers import SiglipConfig, SiglipModel, SiglipProcessor, SiglipTokenizer
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "lines.txt"
        lines.write_text("\n".join(line.lower() for line in _LINES * 3), "utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(lines),
            model_prefix=str(Path(scratch) / "spiece"),
            vocab_size=60,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
        # The class reads its file at once. Without a mask, as on the hub: the model attends to its padding too.
        tokenizer = SiglipTokenizer(
            str(Path(scratch) / "spiece.model"), model_max_length=TEXT_TOKENS, model_input_names=["input_ids"]
        )
        size = len(tokenizer)
    config = SiglipConfig(
        text_config={
            "vocab_size": size,
            "max_position_embeddings": TEXT_TOKENS,
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 1),
            **_LAYERS,
            **(text or {}),
        },
        vision_config={**_LAYERS, "image_size": SIDE, "patch_size": 8, **vision},
    )
    model = SiglipModel(config).eval()
    draw_weights(model, seed, 1.5)
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=resample)
    return model, SiglipProcessor(images, tokenizer)


def blip2(seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of BLIP-2's image-text retrieval."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokenizer = build_tokenizer(" ".join(_LINES).split(), TEXT_TOKENS)
    processor = Blip2Processor(
        BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokenizer, num_query_tokens=QUERY_TOKENS
    )
    qformer = {**_QFORMER, "vocab_size": len(tokenizer), "max_position_embeddings": TEXT_TOKENS}
    config = Blip2Config(
        vision_config=dict(_VISION),
        qformer_config={**qformer, "use_qformer_text_input": True},
        num_query_tokens=QUERY_TOKENS,
        image_text_hidden_size=DIMENSION,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForImageTextRetrieval(config).eval()
    draw_weights(model, seed, 1.5)
    return model, processor


def save(directory: Path, built: tuple[Any, Any]) -> Path:
    """Write a checkpoint in today's layout."""
    model, processor = built
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def to_sentence_transformers(directory: Path, copy: Path) -> Path:
    """A directory of sentence-transformers around a CLIP checkpoint."""
    shutil.copytree(directory, copy / "0_CLIPModel")
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (copy / "modules.json").write_text(json.dumps(modules), "utf-8")
    (copy / "config_sentence_transformers.json").write_text("{}", "utf-8")
    return copy


def photos(count: int, seed: int = 0, sizes: tuple[tuple[int, int], ...] = ((SIDE, SIDE),)) -> list[Image]:
    """uint8 images of different colours that take turns in `sizes` (height, width)."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        tint = rng.integers(0, 200, (1, 1, 3))
        found.append((tint + rng.integers(0, 56, (height, width, 3))).astype(np.uint8))
    return found
