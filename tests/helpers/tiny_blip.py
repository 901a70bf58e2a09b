"""Tiny BLIP, BLIP-2 and InstructBLIP checkpoints: random weights, locally built tokenizers, the hub's layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers.wordpiece import build_tokenizer
from vqa_ray.types import Image

SIDE = 32
QUERY_TOKENS = 4
POSITIONS = 64
_TEXT = (
    "Question: what is in the picture? Answer: yes no red blue green two dog cat golden retriever Short answer: "
    "is there a dog on the left of it how many are there colour does a photo of context earlier"
)
WORDS = _TEXT.split()
QUESTIONS = (
    "what is in the picture?",
    "is there a dog?",
    "how many are there on the left of it?",
    "what colour is it?",
    "does the cat red",
    "a",
    "is it a golden retriever or is it the blue dog on the left of the picture?",
)
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 8,
    "initializer_range": 0.02,
}
_QFORMER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "encoder_hidden_size": 32,
    "vocab_size": 400,
    "max_position_embeddings": 128,
}


def byte_tokenizer() -> Any:
    """Like OPT's: byte-level BPE, a bos in front, the newline as a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet)
    built.train_from_iterator([_TEXT, _TEXT], trainer)
    built.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    return _wrapped(built, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def sentence_tokenizer() -> Any:
    """Like T5's: pieces that carry the space before them, a closing token behind."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    built = Tokenizer(models.BPE(unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    built.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=["<pad>", "</s>", "<unk>"])
    built.train_from_iterator([_TEXT, _TEXT], trainer)
    built.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return _wrapped(built, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=POSITIONS)


def _wrapped(built: Any, **given: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=built, **given)


def draw_weights(model: Any, seed: int, scale: float) -> None:
    """Weights so large that outputs differ clearly between images and between questions."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                spread = 0.7 if "embed" in name or "query_tokens" in name else scale * parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def text_config(kind: str, tokenizer: Any) -> Any:
    """Of the language model `opt`, `t5` or `llama`."""
    from transformers import LlamaConfig, OPTConfig, T5Config

    size = len(tokenizer) + 1
    if kind == "opt":
        newline = tokenizer("\n", add_special_tokens=False)["input_ids"][-1]
        return OPTConfig(
            vocab_size=size,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            word_embed_proj_dim=32,
            max_position_embeddings=POSITIONS,
            bos_token_id=1,
            eos_token_id=newline,
            pad_token_id=0,
            dropout=0.0,
        )
    if kind == "llama":
        return LlamaConfig(
            vocab_size=size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=POSITIONS,
            bos_token_id=1,
            eos_token_id=1,
            pad_token_id=0,
        )
    return T5Config(
        vocab_size=size,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        dropout_rate=0.0,
    )


def tokenizer_of(kind: str) -> Any:
    """The tokenizer that goes with a language model."""
    return sentence_tokenizer() if kind == "t5" else byte_tokenizer()


def blip2(kind: str, seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of BLIP-2 with `opt` or `t5`."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor

    tokenizer = tokenizer_of(kind)
    processor = Blip2Processor(image_processor(), tokenizer, num_query_tokens=QUERY_TOKENS)
    config = Blip2Config(
        vision_config=dict(_VISION),
        qformer_config=dict(_QFORMER),
        text_config=text_config(kind, tokenizer),
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config).eval()
    draw_weights(model, seed, 3.0 if kind == "opt" else 1.5)
    with torch.no_grad():
        # So that some texts end before the limit.
        model.language_model.get_input_embeddings().weight[config.text_config.eos_token_id] *= 2.2
    return model, processor


def instructblip(kind: str, seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of InstructBLIP with `llama` or `t5`."""
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, InstructBlipProcessor

    tokenizer = tokenizer_of(kind)
    processor = InstructBlipProcessor(
        image_processor(), tokenizer, build_tokenizer(WORDS, 128), num_query_tokens=QUERY_TOKENS
    )
    config = InstructBlipConfig(
        vision_config=dict(_VISION),
        qformer_config=dict(_QFORMER),
        text_config=text_config(kind, tokenizer),
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = InstructBlipForConditionalGeneration(config).eval()
    draw_weights(model, seed, 3.0 if kind == "t5" else 1.5)
    return model, processor


def blip(kind: str, seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of BLIP for `vqa` or `caption`."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipForQuestionAnswering, BlipProcessor

    tokenizer = build_tokenizer(WORDS, POSITIONS)
    text = {
        "vocab_size": len(tokenizer) + 2,
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": len(tokenizer),
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    config = BlipConfig(text_config=text, vision_config=dict(_VISION))
    model = (BlipForQuestionAnswering if kind == "vqa" else BlipForConditionalGeneration)(config).eval()
    draw_weights(model, seed, 1.5)
    with torch.no_grad():
        # So that some texts end before the limit.
        model.text_decoder.cls.predictions.decoder.bias[tokenizer.sep_token_id] = 9.0
    return model, BlipProcessor(image_processor(), tokenizer)


def image_processor() -> Any:
    """The Pillow one: what transformers resizes and normalises with where torchvision is absent."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    return BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})


def save(directory: Path, built: tuple[Any, Any]) -> Path:
    """Write a checkpoint in today's layout."""
    model, processor = built
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def to_old_layout(directory: Path, copy: Path) -> Path:
    """A copy in the layout of the hub's older files: the image settings alone in `preprocessor_config.json`."""
    shutil.copytree(directory, copy)
    path = copy / "processor_config.json"
    settings = json.loads(path.read_text("utf-8"))
    images = settings.pop("image_processor")
    images["size"] = SIDE
    (copy / "preprocessor_config.json").write_text(json.dumps(images), "utf-8")
    path.unlink()
    return copy


def random_images(count: int, seed: int = 0) -> list[Image]:
    """uint8 images of the size that the models take, of different colours."""
    rng = np.random.default_rng(seed)
    tints = rng.integers(0, 200, (count, 1, 1, 3))
    return [(tint + rng.integers(0, 56, (SIDE, SIDE, 3))).astype(np.uint8) for tint in tints]
