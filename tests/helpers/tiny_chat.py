"""Tiny chat checkpoints of several families, built from configs with random weights and a tokenizer made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers.tiny_chat_more import idefics2, idefics3, internvl, llava_onevision, smolvlm
from tests.helpers.tiny_chat_text import (
    CHATML_TEMPLATE,
    LLAVA_TOKENS,
    PLAIN_TEMPLATE,
    QWEN_TOKENS,
    build_tokenizer,
    randomise,
    text_config,
)
from vqa_ray.models.chat.processor_loading import without_video
from vqa_ray.types import Image

QUESTIONS = (
    "what is this?",
    "is there a dog in the picture?",
    "how many cats are on the left?",
    "what colour is it?",
    "is the dog red or blue?",
)


def _llava_tokenizer() -> Any:
    return build_tokenizer(
        LLAVA_TOKENS, spaces=True, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


_CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
    "projection_dim": 32,
}


def llava(seed: int) -> tuple[Any, Any]:
    """LLaVA 1.5: CLIP at a fixed size in front of Llama."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _llava_tokenizer()
    config = LlavaConfig(
        vision_config=_CLIP,
        text_config={"model_type": "llama", **text_config(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=PLAIN_TEMPLATE,
    )
    return randomise(LlavaForConditionalGeneration(config), seed), processor


def llava_next(seed: int) -> tuple[Any, Any]:
    """LLaVA-NeXT: a grid of CLIP tiles that follows the image's shape."""
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration, LlavaNextProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    tokenizer = _llava_tokenizer()
    grids = [[28, 56], [56, 28], [56, 56]]
    config = LlavaNextConfig(
        vision_config=_CLIP,
        text_config={"model_type": "llama", **text_config(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grids
    )
    processor = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=PLAIN_TEMPLATE,
    )
    return randomise(LlavaNextForConditionalGeneration(config), seed), processor


def _qwen_tokenizer() -> Any:
    return build_tokenizer(QWEN_TOKENS, spaces=False, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


# What processors keep beside their parts.
PROCESSOR_SETTINGS = ("num_image_tokens", "vision_feature_select_strategy", "image_seq_length", "image_seq_len")

_QWEN_PIXELS = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 6}
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}}


def _qwen_processor(name: str, tokenizer: Any, patch_size: int) -> Any:
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    images = Qwen2VLImageProcessorPil(patch_size=patch_size, merge_size=2, size=_QWEN_PIXELS)
    return without_video(getattr(transformers, name))(
        images, tokenizer, video_processor=None, chat_template=CHATML_TEMPLATE
    )


def qwen2_vl(seed: int) -> tuple[Any, Any]:
    """Qwen2-VL: as many patches as the image has, and positions in three dimensions."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = _qwen_tokenizer()
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 14}
    config = Qwen2VLConfig(
        vision_config=vision,
        text_config=text_config(tokenizer, **_MROPE),
        **_qwen_ids(tokenizer),
        tie_word_embeddings=False,
    )
    return randomise(Qwen2VLForConditionalGeneration(config), seed), _qwen_processor("Qwen2VLProcessor", tokenizer, 14)


def qwen2_5_vl(seed: int) -> tuple[Any, Any]:
    """Qwen2.5-VL: as Qwen2-VL, with attention in windows of the image."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = _qwen_tokenizer()
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(
        vision_config=vision,
        text_config=text_config(tokenizer, **_MROPE),
        **_qwen_ids(tokenizer),
        tie_word_embeddings=False,
    )
    model = randomise(Qwen2_5_VLForConditionalGeneration(config), seed)
    return model, _qwen_processor("Qwen2_5_VLProcessor", tokenizer, 14)


def qwen3_vl(seed: int) -> tuple[Any, Any]:
    """Qwen3-VL: vision features enter several layers of the language model."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = _qwen_tokenizer()
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    text = text_config(tokenizer, head_dim=8, **_MROPE)
    config = Qwen3VLConfig(vision_config=vision, text_config=text, **_qwen_ids(tokenizer), tie_word_embeddings=False)
    return randomise(Qwen3VLForConditionalGeneration(config), seed), _qwen_processor("Qwen3VLProcessor", tokenizer, 14)


_BUILDERS: dict[str, Callable[[int], tuple[Any, Any]]] = {
    build.__name__: build
    for build in (
        *(llava, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl),
        *(idefics2, idefics3, smolvlm, internvl),
    )
}
FAMILIES = tuple(_BUILDERS)


def tiny_chat(family: str, seed: int = 0) -> tuple[Any, Any]:
    """(model, processor) of transformers; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[family](seed)


def save_tiny_chat(directory: Path, family: str, seed: int = 0) -> Path:
    """A whole checkpoint directory: in today's `save_pretrained` layout, or in the older one of the hub."""
    return save_chat(directory, *tiny_chat(family, seed))


def save_chat(directory: Path, model: Any, processor: Any) -> Path:
    """See `save_tiny_chat`."""
    model.save_pretrained(directory)
    if getattr(processor, "video_processor", ...) is not None:
        processor.save_pretrained(directory)
        return directory
    # A processor without its video part is not one that transformers saves; the older layout has a file for each part.
    processor.tokenizer.save_pretrained(directory)
    processor.image_processor.save_pretrained(directory)
    settings = json.loads((directory / "preprocessor_config.json").read_text())
    settings["image_processor_type"] = type(processor.image_processor).__name__.removesuffix("Pil")
    settings["processor_class"] = type(processor).__name__
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))
    if processor.chat_template is not None:
        (directory / "chat_template.json").write_text(json.dumps({"chat_template": processor.chat_template}))
    own = {name: getattr(processor, name) for name in PROCESSOR_SETTINGS if hasattr(processor, name)}
    if own:
        own["processor_class"] = type(processor).__name__
        (directory / "processor_config.json").write_text(json.dumps(own))
    return directory


def random_images(count: int, seed: int = 0) -> list[Image]:
    """uint8 images of mixed sizes, smooth enough that they survive a resize."""
    rng = np.random.default_rng(seed)
    sizes = [(28, 28), (40, 60), (60, 40), (56, 56), (30, 90)]
    images = []
    for _ in range(count):
        height, width = sizes[rng.integers(len(sizes))]
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        images.append(
            np.ascontiguousarray(coarse.repeat(-(-height // 4), 0).repeat(-(-width // 4), 1)[:height, :width])
        )
    return images
