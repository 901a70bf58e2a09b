"""Checkpoints in another program's layout, recognised by name, with the models to use instead. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vqa_ray.models.checkpoint.file_selection import CONFIG, names_within, weight_names

_LLAVA = "the original LLaVA code's layout"
# `model_type` or architecture of config.json, or `model_type` of its vision part → what it is, and a model of the same
# kind in transformers' own layout.
_ORIGINALS: Mapping[str, tuple[str, str]] = {
    "llava_llama": (_LLAVA, "llava-hf/llava-1.5-7b-hf"),
    "llava_mistral": (_LLAVA, "llava-hf/llava-v1.6-mistral-7b-hf"),
    "llava_qwen": (_LLAVA, "llava-hf/llava-onevision-qwen2-7b-ov-hf"),
    "llava_mpt": (_LLAVA, "llava-hf/llava-1.5-7b-hf"),
    "LlavaLlamaForCausalLM": (_LLAVA, "llava-hf/llava-1.5-7b-hf"),
    "LlavaMistralForCausalLM": (_LLAVA, "llava-hf/llava-v1.6-mistral-7b-hf"),
    "LlavaQwenForCausalLM": (_LLAVA, "llava-hf/llava-onevision-qwen2-7b-ov-hf"),
    "LlavaMPTForCausalLM": (_LLAVA, "llava-hf/llava-1.5-7b-hf"),
    "QWenLMHeadModel": ("the first Qwen-VL, or a Qwen of text alone", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen": ("the first Qwen-VL, or a Qwen of text alone", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "phi3_v": ("Phi-3-Vision", "Qwen/Qwen2.5-VL-3B-Instruct"),
    "Phi3VForCausalLM": ("Phi-3-Vision", "Qwen/Qwen2.5-VL-3B-Instruct"),
    "phi4mm": ("the original Phi-4-multimodal", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "cogvlm": ("CogVLM", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "CogVLMForCausalLM": ("CogVLM", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "CogVLMVideoForCausalLM": ("CogVLM2-Video", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "moondream": ("moondream", "HuggingFaceTB/SmolVLM-Instruct"),
    "moondream1": ("moondream", "HuggingFaceTB/SmolVLM-Instruct"),
    "hf_moondream": ("moondream", "HuggingFaceTB/SmolVLM-Instruct"),
    "minicpmv": ("MiniCPM-V", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "minicpmo": ("MiniCPM-o", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "MiniCPMV": ("MiniCPM-V", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "internvl_chat": (
        "the original InternVL layout",
        "the same name with -hf at its end, as OpenGVLab/InternVL3-8B-hf",
    ),
    "InternVLChatModel": (
        "the original InternVL layout",
        "the same name with -hf at its end, as OpenGVLab/InternVL3-8B-hf",
    ),
    "multi_modality": ("the original DeepSeek-VL or Janus layout", "deepseek-community/deepseek-vl-1.3b-chat"),
    "MultiModalityCausalLM": ("the original DeepSeek-VL or Janus layout", "deepseek-community/deepseek-vl-1.3b-chat"),
    "deepseek_vl_v2": ("DeepSeek-VL2", "deepseek-community/deepseek-vl-1.3b-chat"),
    "mplug_owl2": ("mPLUG-Owl2", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "mplug_owl3": ("mPLUG-Owl3", "Qwen/Qwen2.5-VL-7B-Instruct"),
    # The vision part of Florence-2, which transformers' own layout calls florence_vision.
    "davit": ("the original Florence-2", "florence-community/Florence-2-base"),
    "molmo": ("Molmo", "Qwen/Qwen2.5-VL-7B-Instruct"),
}
_OPEN_CLIP = re.compile(r"open_clip_(config\.json|pytorch_model\.bin|model\.safetensors)")
# Pattern of a file's name → what a directory is that holds nothing we read but such files.
_FORMATS = (
    (
        _OPEN_CLIP,
        "in OpenCLIP's layout; take its export for transformers (laion/CLIP-ViT-B-32-laion2B-s34B-b79K has it)",
    ),
    (re.compile(r".*\.gguf"), "in GGUF, for llama.cpp; take the model it was made from"),
    (re.compile(r"(.*/)?.*\.onnx"), "in ONNX; take the model it was exported from"),
    (re.compile(r"tf_model\.h5|saved_model\.pb"), "for TensorFlow alone; convert it once with transformers 4"),
    (re.compile(r"flax_model.*\.msgpack"), "for Flax alone; convert it once with transformers 4"),
    (re.compile(r"openvino_model\.(xml|bin)"), "in OpenVINO's layout; take the model it was exported from"),
    (
        re.compile(r"params\.json|consolidated.*"),
        "in the layout of its authors' own code; take its export for transformers",
    ),
)
_ORIGINAL_PICKLE = re.compile(r".*\.(pth|pt|ckpt)")
_HALF_DONE = re.compile(r".*\.(incomplete|part|crdownload|aria2|tmp)")
_TRAINER = re.compile(r"checkpoint-(\d+)/config\.json")


def original_layout(config: Mapping[str, Any], known: Collection[str]) -> str | None:
    """Describe a model that needs the code of its authors; None if transformers knows its type."""
    kind, architectures = config.get("model_type"), config.get("architectures") or []
    vision = config.get("vision_config")
    inner = [str(vision.get("model_type"))] if isinstance(vision, Mapping) else []
    for key in (*(str(name) for name in architectures), str(kind), *inner):
        if key in _ORIGINALS:
            what, instead = _ORIGINALS[key]
            return (
                f"config.json says {key}: this is {what}, which needs code of its authors that is never run; "
                f"a successor in transformers' own layout is {instead}"
            )
    if config.get("auto_map") and kind not in known:
        return (
            f"config.json says {kind!r} and needs code of its own repository (auto_map), which is never run; taken are "
            f"models in transformers' own layout, of the types {', '.join(sorted(known))}"
        )
    return None


def directory_hint(names: Collection[str]) -> str:
    """Describe a directory without a config.json by the names of its files, relative to it."""
    steps = sorted(int(match[1]) for name in names if (match := _TRAINER.fullmatch(name)))
    if steps:
        return (
            f"is a training's output; the model is in its checkpoints, the newest is checkpoint-{steps[-1]}: pass that"
        )
    if "model_index.json" in names:
        return "is a diffusers pipeline, which makes images and answers no questions"
    found = _format(names)
    if found:
        return f"config.json is missing: the model is {found}"
    pickles = [name for name in names_within(names, "") if _ORIGINAL_PICKLE.fullmatch(name)]
    if pickles:
        return f"config.json is missing: {_originals(pickles)}"
    inner = sorted({name.rpartition("/")[0] for name in names if name.endswith(f"/{CONFIG}") and name.count("/") == 1})
    if inner:
        return f"config.json is missing; there are models in it: {', '.join(inner[:5])}: pass one of them"
    return "config.json is missing; wanted a directory in save_pretrained layout"


def weights_hint(names: Collection[str]) -> str:
    """Why there are no weights that are read among the names of a checkpoint's files."""
    assert weight_names(names) is None
    half = sorted(name for name in names if _HALF_DONE.fullmatch(name))
    variants = sorted(name for name in names if re.fullmatch(r"(model|pytorch_model)\.[\w-]+\.(safetensors|bin)", name))
    pickles = sorted(name for name in names if _ORIGINAL_PICKLE.fullmatch(name))
    found = _format(names)
    if half:
        return f"its download or copy is unfinished ({half[0]}); finish it"
    if variants:
        single = "model.safetensors" if variants[0].endswith("safetensors") else "pytorch_model.bin"
        return f"there are weights of a variant alone ({', '.join(variants)}); name the one to use {single}"
    if found:
        return f"no weights that are read: the model is {found}"
    if pickles:
        return f"no weights that are read: {_originals(pickles)}"
    shards = sorted(name for name in names if re.fullmatch(r"(pytorch_)?model-\d+-of-\d+\.(safetensors|bin)", name))
    if shards:
        index = "model.safetensors.index.json" if shards[0].endswith("safetensors") else "pytorch_model.bin.index.json"
        return f"{index} is missing, which says what is in {shards[0]} and the other {len(shards) - 1} shards"
    return "no weights; wanted model.safetensors or pytorch_model.bin, or their shards with an index"


def _format(names: Collection[str]) -> str | None:
    return next(
        (description for pattern, description in _FORMATS if any(pattern.fullmatch(name) for name in names)), None
    )


def _originals(pickles: Collection[str]) -> str:
    shown = ", ".join(sorted(pickles)[:3])
    return (
        f"{shown} is in the layout of its authors' own code (original BLIP, LAVIS, …); take its export for "
        "transformers, such as Salesforce/blip-vqa-base"
    )
