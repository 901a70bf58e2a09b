"""Tiny chat checkpoints, continued: families whose images are cut into tiles or squeezed into a few tokens."""

from __future__ import annotations

from typing import Any

from tests.helpers.tiny_chat_text import (
    CHATML_TEMPLATE,
    IDEFICS_TEMPLATE,
    IDEFICS_TOKENS,
    build_tokenizer,
    randomise,
    text_config,
)
from vqa_ray.models.chat.processor_loading import without_video

_TURNS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def llava_onevision(seed: int) -> tuple[Any, Any]:
    """LLaVA-OneVision: a grid of SigLIP tiles in front of Qwen2."""
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    tokenizer = build_tokenizer(
        (*_TURNS, "<image>", "<video>"), spaces=False, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    grids = [[28, 56], [56, 28], [56, 56]]
    vision = {**_VISION, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7}
    config = LlavaOnevisionConfig(
        vision_config={**vision, "vision_use_head": False},
        text_config={"model_type": "qwen2", **text_config(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
        tie_word_embeddings=False,
    )
    images = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=grids)
    processor = without_video(LlavaOnevisionProcessor)(
        images,
        tokenizer,
        video_processor=None,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=CHATML_TEMPLATE.replace(_QWEN_IMAGE, "<image>\n"),
    )
    return randomise(LlavaOnevisionForConditionalGeneration(config), seed), processor


def internvl(seed: int) -> tuple[Any, Any]:
    """InternVL: tiles of the image, four patches joined to one token."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    names["video_token"] = "<video>"
    tokenizer = build_tokenizer(
        (*_TURNS, *names.values()),
        spaces=False,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=names,
    )
    config = InternVLConfig(
        vision_config={**_VISION, "image_size": [28, 28], "patch_size": [7, 7]},
        text_config={"model_type": "qwen2", **text_config(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    images = GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, crop_to_patches=True, max_patches=4)
    processor = without_video(InternVLProcessor)(
        images,
        tokenizer,
        video_processor=None,
        image_seq_length=4,
        chat_template=CHATML_TEMPLATE.replace(_QWEN_IMAGE, "<IMG_CONTEXT>\n"),
    )
    return randomise(InternVLForConditionalGeneration(config), seed), processor


def _idefics_tokenizer() -> Any:
    return build_tokenizer(
        IDEFICS_TOKENS, spaces=False, bos_token="<|im_start|>", eos_token="<end_of_utterance>", pad_token="<pad>"
    )


def idefics2(seed: int) -> tuple[Any, Any]:
    """Idefics2: the image squeezed into four tokens by a perceiver."""
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration, Idefics2Processor
    from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

    tokenizer = _idefics_tokenizer()
    perceiver = {"hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2}
    config = Idefics2Config(
        vision_config={**_VISION, "image_size": 56, "patch_size": 7},
        perceiver_config={**perceiver, "resampler_head_dim": 16, "num_key_value_heads": 2},
        text_config={"model_type": "mistral", **text_config(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    images = Idefics2ImageProcessorPil(size={"shortest_edge": 28, "longest_edge": 56}, do_image_splitting=False)
    processor = Idefics2Processor(images, tokenizer, image_seq_len=4, chat_template=IDEFICS_TEMPLATE)
    return randomise(Idefics2ForConditionalGeneration(config), seed), processor


def idefics3(seed: int) -> tuple[Any, Any]:
    """Idefics3: tiles of the image and the whole, 4 tokens each, named by row and column."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = _idefics_tokenizer()
    config = Idefics3Config(
        vision_config={**_VISION, "image_size": 28, "patch_size": 7},
        text_config={"model_type": "llama", **text_config(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=False,
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=IDEFICS_TEMPLATE)
    return randomise(Idefics3ForConditionalGeneration(config), seed), processor


def smolvlm(seed: int) -> tuple[Any, Any]:
    """SmolVLM: as Idefics3, with its own names; its processor also knows videos."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMProcessor
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    tokenizer = _idefics_tokenizer()
    config = SmolVLMConfig(
        vision_config={**_VISION, "image_size": 28, "patch_size": 7},
        text_config={"model_type": "llama", **text_config(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=False,
    )
    images = SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    processor = without_video(SmolVLMProcessor)(
        images, tokenizer, video_processor=None, image_seq_len=4, chat_template=IDEFICS_TEMPLATE
    )
    return randomise(SmolVLMForConditionalGeneration(config), seed), processor
