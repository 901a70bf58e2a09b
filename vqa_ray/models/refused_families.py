"""Image-and-text types of transformers that are not served, each with the reason. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

_TORCHVISION = "its processor needs torchvision, which is no dependency of vqa-ray"
_VIDEO = "it is made for videos"
_OCR = "it transcribes documents and answers no questions"
_NO_PROCESSOR = "transformers has no processor for it"
_UNPROVEN = "its answers were not held to those of transformers yet"
_AUDIO = "its processor also needs an audio feature extractor"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("cohere2_vision", "gemma4_unified", "inkling2", "inkling_mm_model", "kimi_k25", "lfm2_vl", "llama4"),
            *("minicpm_ocr", "minimax_m3_vl", "mistral3", "mistral_large4", "molmo2", "muse_glimmer", "muse_spark"),
            *("nemotron_h_omni", "perception_lm", "step3p7", "unlimited_ocr"),
        ),
        _TORCHVISION,
    ),
    **dict.fromkeys(("instructblipvideo", "video_llava"), _VIDEO),
    **dict.fromkeys(("got_ocr2", "deepseek_ocr2", "pp_chart2table", "pp_formulanet"), _OCR),
    **dict.fromkeys(
        (
            *("cosmos3_omni", "fast_vlm", "glm_ocr", "glmga", "mistral4"),
            *("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"),
        ),
        _NO_PROCESSOR,
    ),
    **dict.fromkeys(("gemma3n", "gemma4", "diffusion_gemma", "dots3_note"), _AUDIO),
    **dict.fromkeys(
        (
            *("cohere_compass", "deepseek_vl_hybrid", "granite4_vision", "janus", "video_llama_3"),
            *("chameleon", "cosmos3_edge", "emu3", "ernie4_5_vl_moe", "glm5_next", "granite_docling", "hunyuan_vl"),
            *("hyperclovax_vision_v2", "lfm3_vl", "minicpmv4_6", "minicpmv4_7", "ovis2", "qwen4_exp", "t5gemma2"),
        ),
        _UNPROVEN,
    ),
    "evolla": "it is asked about proteins, not about images",
    "git": "its question is the opening of its own text, without the closing token that its processor adds",
    "idefics": "its processor sets the images of a text behind it, after the question; Idefics3 and SmolVLM are served",
    "kosmos-2.5": "its processor sets the image before a text itself, and it was made to transcribe pages",
    "pi0": "it moves robots and answers no questions",
    "pix2struct": "it reads the question out of the picture, into which its processor draws it",
    "shieldgemma2": "it judges images by policies and answers no questions",
    "udop": "it needs the words of the page and their places beside the image",
    "vision-encoder-decoder": "it is a frame for any encoder and decoder (Donut, TrOCR) and has no prompt of its own",
}
"""`model_type` of config.json → why it is refused."""
