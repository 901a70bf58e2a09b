"""Tiny checkpoints of further chat families: default configs made small, with tokenizers and processors made here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tests.helpers.tiny_chat_text import build_tokenizer, randomise
from tests.helpers.tiny_plain_prompts import fuyu, kosmos2
from vqa_ray.models.chat.processor_loading import without_video

_TOKENS = {
    "image_token": "<image>",
    "video_token": "<video>",
    "boi_token": "<boi>",
    "eoi_token": "<eoi>",
    "image_start_token": "<img_start>",
    "image_end_token": "<img_end>",
    "image_break_token": "<img_break>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
}
_SIZES: Mapping[str, Any] = {
    **dict.fromkeys(("hidden_size", "embed_dim", "projection_dim", "out_hidden_size", "text_hidden_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "depth", "num_experts_per_tok", "num_key_value_heads", "mlp_ratio"), 2),
    **dict.fromkeys(("num_attention_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "moe_num_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **{"n_shared_experts": 1, "first_k_dense_replace": 1, "intermediate_size": 64, "head_dim": 8},
    **{"max_position_embeddings": 1024, "image_size": 28, "patch_size": 7},
}
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_FULL = {"layer_types": ["full_attention"] * 2}
_GRID = [[28, 56], [56, 28], [56, 56]]


def _tokenizer(*extra: str, **named: str) -> Any:
    names = {**_TOKENS, **named}
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>", *names.values(), *extra)
    return build_tokenizer(
        tuple(dict.fromkeys(special)),
        spaces=False,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        unk_token="<|endoftext|>",
        extra_special_tokens=names,
    )


def _small(values: Mapping[str, Any], sizes: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    known = {**sizes, **ids, "vocab_size": len(tokenizer)}
    small: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            small[name] = _small(value, sizes, tokenizer)
        elif name in known and value is not None:
            small[name] = float(known[name]) if isinstance(value, float) else known[name]
        elif name != "layer_types":
            small[name] = value
    return small


def _config(name: str, tokenizer: Any, sizes: Mapping[str, Any] = {}, **changes: Any) -> Any:
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[name]
    small = _small(kind().to_dict(), {**_SIZES, **sizes}, tokenizer)
    for key in small:
        token = key.removesuffix("_id").removesuffix("_index").replace("vision_", "image_")
        if token in _TOKENS and key != token:
            small[key] = tokenizer.convert_tokens_to_ids(_TOKENS[token])
    _merge(small, changes)
    return kind.from_dict(small)


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _images(module: str, name: str, **settings: Any) -> Any:
    return getattr(
        importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}"), f"{name}Pil"
    )(**settings)


def _square(side: int = 28) -> dict[str, int]:
    return {"height": side, "width": side}


def _clip() -> Any:
    return _images("clip", "CLIPImageProcessor", size={"shortest_edge": 28}, crop_size=_square())


def _processor(name: str, images: Any, tokenizer: Any, image: str = "<image>", **settings: Any) -> Any:
    import transformers

    kind: Any = getattr(transformers, name)
    parts = {"image_processor": images, "tokenizer": tokenizer, "chat_template": _TEMPLATE.replace("IMAGE", image)}
    if "video_processor" in kind.get_attributes():
        return without_video(kind)(**parts, video_processor=None, **settings)
    return kind(**parts, **settings)


def deepseek_vl() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    images = _images("deepseek_vl", "DeepseekVLImageProcessor", size=_square(), min_size=14)
    processor = _processor("DeepseekVLProcessor", images, tokenizer, num_image_tokens=16)
    return _config("deepseek_vl", tokenizer, text_config={"model_type": "llama"}), processor


def gemma3() -> tuple[Any, Any]:
    """Image tokens attend to each other in both directions, and some layers see a window only."""
    tokenizer = _tokenizer()
    layers = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    images = _images("gemma3", "Gemma3ImageProcessor", size=_square())
    processor = _processor("Gemma3Processor", images, tokenizer, "<boi>", image_seq_length=4)
    return _config("gemma3", tokenizer, mm_tokens_per_image=4, text_config=layers), processor


def vipllava() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    settings: Any = {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = _processor("LlavaProcessor", _clip(), tokenizer, patch_size=7, **settings)
    return _config("vipllava", tokenizer, vision_feature_layers=[-1, -2]), processor


def llava_next_video() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    settings: Any = {"size": {"shortest_edge": 28}, "crop_size": _square(), "image_grid_pinpoints": _GRID}
    images = _images("llava_next", "LlavaNextImageProcessor", **settings)
    more: Any = {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = _processor("LlavaNextVideoProcessor", images, tokenizer, patch_size=7, **more)
    return _config("llava_next_video", tokenizer, image_grid_pinpoints=_GRID), processor


def aya_vision() -> tuple[Any, Any]:
    extra = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>")
    tokenizer = _tokenizer(*extra)
    config = _config(
        "aya_vision",
        tokenizer,
        downsample_factor=2,
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        alignment_intermediate_size=32,
        vision_feature_select_strategy="full",
        text_config={"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16},
    )
    images = _images("got_ocr2", "GotOcr2ImageProcessor", size=_square(), crop_to_patches=True, max_patches=4)
    settings = {"patch_size": 7, "img_size": 28, "downsample_factor": 2}
    return config, _processor("AyaVisionProcessor", images, tokenizer, **settings)


def aria() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    sizes = {"image_size": 980, "patch_size": 70}
    config = _config("aria", tokenizer, sizes, projector_patch_to_query_dict={196: 4})
    images = _images("aria", "AriaImageProcessor")
    return config, _processor("AriaProcessor", images, tokenizer, size_conversion={490: 4, 980: 4})


def mllama() -> tuple[Any, Any]:
    """Images are seen by cross attention alone, through gates that start closed."""
    tokenizer = _tokenizer(image_token="<|image|>")
    sizes = {"num_global_layers": 1, "vision_output_dim": 96, "intermediate_layers_indices": [0, 1]}
    ratios = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    config = _config(
        "mllama",
        tokenizer,
        {**sizes, "cross_attention_layers": [1]},
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
        vision_config={"supported_aspect_ratios": ratios},
    )
    images = _images("mllama", "MllamaImageProcessor", size=_square(), max_image_tiles=4)
    return config, _processor("MllamaProcessor", images, tokenizer, "<|image|>")


def _glm(kind: str, processor: str, module: str, images: str) -> tuple[Any, Any]:
    tokenizer = _tokenizer("<|begin_of_video|>", "<|end_of_video|>")
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    text = {"rope_parameters": rope, **_FULL}
    config = _config(kind, tokenizer, vision_config={"image_size": 56}, text_config=text)
    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    made = _images(module, images, size=size, patch_size=7, merge_size=2)
    return config, _processor(processor, made, tokenizer, "<img_start><image><img_end>")


def glm4v() -> tuple[Any, Any]:
    return _glm("glm4v", "Glm4vProcessor", "glm4v", "Glm4vImageProcessor")


def glm4v_moe() -> tuple[Any, Any]:
    return _glm("glm4v_moe", "Glm4vProcessor", "glm4v", "Glm4vImageProcessor")


def glm46v() -> tuple[Any, Any]:
    return _glm("glm46v", "Glm46VProcessor", "glm46v", "Glm46VImageProcessor")


def _qwen(kind: str, processor: str = "Qwen3VLProcessor", **parts: Any) -> tuple[Any, Any]:
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    names |= {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    tokenizer = _tokenizer(**names)
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    vision = {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    config = _config(
        kind,
        tokenizer,
        **ids,
        vision_config={**vision, "spatial_merge_size": 2, "temporal_patch_size": 2, **parts.get("vision", {})},
        text_config={"rope_parameters": _MROPE, **parts.get("text", {})},
    )
    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    images = _images("qwen2_vl", "Qwen2VLImageProcessor", size=size, patch_size=7, merge_size=2)
    return config, _processor(processor, images, tokenizer, "<|vision_start|><|image_pad|><|vision_end|>")


_MROPE = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0, "mrope_interleaved": True}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    **{"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    "rope_parameters": {**_MROPE, "partial_rotary_factor": 1.0},
}


def qwen3_vl_moe() -> tuple[Any, Any]:
    return _qwen("qwen3_vl_moe")


def qwen3_5() -> tuple[Any, Any]:
    return _qwen("qwen3_5", text=_LINEAR)


def qwen3_5_moe() -> tuple[Any, Any]:
    return _qwen("qwen3_5_moe", text=_LINEAR)


def exaone4_5() -> tuple[Any, Any]:
    text = {**_FULL, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    vision = {"fullatt_block_indexes": [1], "window_size": 28}
    return _qwen("exaone4_5", "Exaone4_5_Processor", text=text, vision=vision)


def lighton_ocr() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    images = _images("pixtral", "PixtralImageProcessor", size={"longest_edge": 56}, patch_size=7)
    processor = _processor("LightOnOcrProcessor", images, tokenizer, patch_size=7, spatial_merge_size=2)
    return _config("lighton_ocr", tokenizer, {"image_size": 56}, text_config=_FULL), processor


def paddleocr_vl() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    config = _config("paddleocr_vl", tokenizer, {"image_size": 56}, text_config={**_FULL, "rope_parameters": rope})
    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    images = _images("paddleocr_vl", "PaddleOCRVLImageProcessor", size=size, patch_size=7, merge_size=2)
    return config, _processor("PaddleOCRVLProcessor", images, tokenizer, "<img_start><image><img_end>")


def qianfan_ocr() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    sizes = {"image_size": [28, 28], "patch_size": [7, 7]}
    token = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    config = _config("qianfan_ocr", tokenizer, sizes, image_token_id=token, text_config=_FULL)
    images = _images("got_ocr2", "GotOcr2ImageProcessor", size=_square(), crop_to_patches=True, max_patches=4)
    return config, _processor("QianfanOCRProcessor", images, tokenizer, image_seq_length=4)


def paligemma() -> tuple[Any, Any]:
    """No chat template: the prompt is `answer en …`, and the image stands before it."""
    tokenizer = _tokenizer()
    images = _images("siglip", "SiglipImageProcessor", size=_square())
    images.image_seq_length = 16
    processor = _processor("PaliGemmaProcessor", images, tokenizer)
    processor.chat_template = None
    return _config("paligemma", tokenizer, text_config={"vocab_size": len(tokenizer)}), processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    build.__name__: build
    for build in (
        *(deepseek_vl, gemma3, vipllava, llava_next_video, aya_vision, aria, mllama, glm4v, glm4v_moe, glm46v),
        *(qwen3_vl_moe, qwen3_5, qwen3_5_moe, exaone4_5, lighton_ocr, paddleocr_vl, qianfan_ocr, paligemma, fuyu),
    )
}
BUILDERS["kosmos-2"] = kosmos2


@dataclass(frozen=True, slots=True)
class _Weights:
    """Random weights with which both image and question change the answer.

    Attributes:
        norm: of the language model's normalisations: a large one makes its attention choose.
        words: ids of the tokens that are mostly written, so that answers are text; None for all.
    """

    seed: int = 0
    scale: float = 0.25
    norm: float = 1.0
    words: range | None = None


_WEIGHTS: Mapping[str, _Weights] = {
    "aya_vision": _Weights(seed=2, scale=0.6),
    "exaone4_5": _Weights(seed=1, norm=2.0),
    "fuyu": _Weights(words=range(261, 360)),
    "gemma3": _Weights(norm=3.0),
    "kosmos-2": _Weights(seed=6, scale=0.4, words=range(260, 460)),
    "paligemma": _Weights(seed=2),
    "qwen3_5": _Weights(seed=1),
    "qwen3_5_moe": _Weights(seed=1, norm=2.0),
}


def tiny_family(name: str) -> tuple[Any, Any]:
    """(model, processor) of transformers, with random weights."""
    from transformers import AutoModelForImageTextToText

    weights = _WEIGHTS.get(name, _Weights())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config, processor = BUILDERS[name]()
        model = randomise(AutoModelForImageTextToText.from_config(config), weights.seed, weights.scale)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                continue
            if "gate" in parameter_name:
                parameter.fill_(0.7)
            elif "norm" in parameter_name and "vis" not in parameter_name and weights.norm != 1:
                parameter.fill_(weights.norm)
        if weights.words is not None:
            table = model.get_output_embeddings().weight
            table[: weights.words.start] *= 0.1
            table[weights.words.stop :] *= 0.1
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model, processor
