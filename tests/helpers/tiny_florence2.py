"""A tiny Florence-2 checkpoint: random weights, a tokenizer made here with location tokens, the hub's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.helpers.tiny_blip import draw_weights
from tests.helpers.tiny_chat_text import build_tokenizer

SIDE = 32
TAGS = ("<od>", "</od>", "<sep>", "<poly>", "</poly>", "<and>")
_IMAGE_TOKENS = 17
_PARSED = (
    *("pure_text", "description_with_bboxes", "description_with_polygons", "polygons", "bboxes"),
    *("description_with_bboxes_or_polygons", "phrase_grounding", "ocr"),
)


def _tokenizer() -> Any:
    tokenizer = build_tokenizer(
        ("<s>", "<pad>", "</s>", "<unk>", "<image>"),
        spaces=False,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([*TAGS, *(f"<loc_{place}>" for place in range(1000))], special_tokens=True)
    return tokenizer


def florence2(seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of transformers."""
    from transformers import Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer()
    images = CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        image_seq_length=_IMAGE_TOKENS,
    )
    images.image_seq_length = _IMAGE_TOKENS
    parsed: dict[str, Any] = {name: {} for name in _PARSED}
    parsed["phrase_grounding"] = {"banned_grounding_tokens": ["it", "the image"]}
    processor = Florence2Processor(images, tokenizer, post_processor_config=parsed)
    config = Florence2Config(
        vision_config={
            "depths": (1, 1),
            "patch_size": (7, 3),
            "patch_stride": (4, 2),
            "patch_padding": (3, 1),
            "patch_prenorm": (False, True),
            "embed_dim": (16, 32),
            "num_heads": (2, 4),
            "num_groups": (2, 4),
            "window_size": 4,
            "projection_dim": 32,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "max_position_embeddings": 160,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Florence2ForConditionalGeneration(config).eval()
    draw_weights(model, seed, 1.5)
    # As the published checkpoints have them.
    published = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    published |= {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "no_repeat_ngram_size": 3}
    for name, value in published.items():
        setattr(model.generation_config, name, value)
    return model, processor


def save(directory: Path, built: tuple[Any, Any]) -> Path:
    """Write a checkpoint in today's layout."""
    model, processor = built
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


@torch.inference_mode()
def stock_tokens(built: tuple[Any, Any], image: Any, question: str, new_tokens: int, **options: Any) -> list[int]:
    """The tokens that `generate` writes behind the two that open a text, up to the closing one.

    A text that is cut ends as the model would go on: the closing token is not forced.
    """
    model, processor = built
    inputs = processor(images=image, text=question, return_tensors="pt", do_resize=False)
    model.generation_config.forced_eos_token_id = None
    settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": new_tokens + 1, **options}
    written = model.generate(**inputs, **settings)[0, 2:].tolist()
    return written[: written.index(2)] if 2 in written else written
