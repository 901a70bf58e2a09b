"""Whether a checkpoint is whole, as far as its small files and the headers of its weights show. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary, check_head
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.tokenizer_files import check_tokenizer
from vqa_ray.models.checkpoint.weight_files import WeightFiles, find_weights

# Of InstructBLIP: where the tokenizer of its Q-Former lies.
QFORMER_TOKENIZER = "qformer_tokenizer"


def check_parts(path: Path, config: Mapping[str, Any], origin: str, *, has_vocabulary: bool) -> WeightFiles:
    """Check weights, tokenizer and answer vocabulary of a checkpoint, each and against each other.

    Args:
        path: its directory.
        config: its config.json.
        origin: what messages begin with.
        has_vocabulary: whether it answers from a closed vocabulary.

    Raises:
        ModelLoadError: a part is missing or damaged, or two do not fit each other.
    """
    weights = find_weights(path, origin)
    if has_vocabulary:
        vocabulary = AnswerVocabulary.from_config(config, origin)
        # An adapter brings a head of its own.
        if adapter_of(path) is None:
            check_head(vocabulary, weights, origin)
    check_tokenizer(path, config, origin)
    if config.get("model_type") == "instructblip":
        _check_qformer_tokenizer(path, config, origin)
    return weights


def _check_qformer_tokenizer(path: Path, config: Mapping[str, Any], origin: str) -> None:
    inner = path / QFORMER_TOKENIZER
    if not inner.is_dir():
        raise ModelLoadError(f"{origin}: {QFORMER_TOKENIZER}/ is missing; its Q-Former reads the question")
    check_tokenizer(inner, {"qformer_config": config.get("qformer_config")}, f"{origin}: {QFORMER_TOKENIZER}/")
