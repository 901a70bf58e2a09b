"""Tiny checkpoints of families without a chat template, whose processors set the image before a text themselves."""

from __future__ import annotations

from typing import Any

from tests.helpers.tiny_chat_text import WORDS, build_tokenizer
from vqa_ray.models.chat.processor_loading import with_tensor_patches

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_NAMES = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_SIDE = 28


def kosmos2() -> tuple[Any, Any]:
    """KOSMOS-2: 64 placeholders with ids of their own stand for an image, and 1,024 tokens for places in it."""
    from transformers import Kosmos2Config, Kosmos2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = CLIPImageProcessorPil(size={"height": _SIDE, "width": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE})
    processor = Kosmos2Processor(images, build_tokenizer(_SPECIAL, spaces=True, **_NAMES))
    text = {
        "vocab_size": len(processor.tokenizer),
        "embed_dim": 32,
        "layers": 2,
        "ffn_dim": 64,
        "attention_heads": 4,
        "max_position_embeddings": 512,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": _SIDE,
        "patch_size": 7,
    }
    return Kosmos2Config(text_config=text, vision_config=vision), processor


def fuyu() -> tuple[Any, Any]:
    """Fuyu: patches of the image are tokens, a newline after each row of them, and `<0x04>` opens the answer."""
    from transformers import FuyuConfig, FuyuProcessor
    from transformers.models.fuyu.image_processing_pil_fuyu import FuyuImageProcessorPil

    images = with_tensor_patches(FuyuImageProcessorPil)(
        size={"height": 60, "width": 90}, patch_size={"height": 10, "width": 10}
    )
    tokenizer = _pieces()
    text = {
        "model_type": "persimmon",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "hidden_act": "relu2",
        "qk_layernorm": True,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    token = tokenizer.convert_tokens_to_ids("|SPEAKER|")
    # Transformers 5.19 projects patches to the outer width, later versions to the inner one.
    config = FuyuConfig(text_config=text, hidden_size=text["hidden_size"], patch_size=10, image_token_id=token)
    return config, FuyuProcessor(images, tokenizer)


def _pieces() -> Any:
    """A Unigram tokenizer, whose image tokens are pieces like any other."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    letters = [*"abcdefghijklmnopqrstuvwxyz?.,", "▁"]
    words = sorted({f"▁{word}" for word in WORDS})
    scored = [
        *((token, 0.0) for token in ("<unk>", "<s>", "</s>", *bytes_, "|SPEAKER|", "|NEWLINE|")),
        *((word, -2.0) for word in words),
        *((letter, -6.0) for letter in letters),
    ]
    core = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        clean_up_tokenization_spaces=False,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
