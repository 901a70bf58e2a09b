"""How the compared engines write, and what they wrote."""

from __future__ import annotations

from typing import Any

from vqa_ray.models.generation.config import GenerationConfig

NEW_TOKENS = 8
GENERATION = GenerationConfig(max_new_tokens=NEW_TOKENS, caption_max_new_tokens=NEW_TOKENS)
OPTIONS = {"enforce_eager": True, "max_model_len": 512, "max_num_seqs": 32, "limit_mm_per_prompt": {"image": 3}}


def texts(answers: Any) -> list[str]:
    return [answer.answers[0][0] for per_image in answers for answer in per_image]


def scores(answers: Any) -> list[float]:
    return [answer.answers[0][1] for per_image in answers for answer in per_image]
