"""Checks that a checkpoint is whole, by its small files and the headers of its weights. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary, check_head
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.config_sizes import check_sizes
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.tokenizer_files import check_tokenizer
from vqa_ray.models.checkpoint.weight_files import WeightFiles, find_weights

# Of InstructBLIP: where the tokenizer of its Q-Former lies.
QFORMER_TOKENIZER = "qformer_tokenizer"


def check_parts(path: Path, config: Mapping[str, Any], label: str, vocabulary: AnswerVocabulary | None) -> WeightFiles:
    """Check sizes, weights, tokenizer and answer head of a checkpoint, each and against each other.

    Args:
        path: its directory.
        config: its config.json.
        label: what messages begin with.
        vocabulary: the answers that its head scores; None if it has no such head.

    Raises:
        ModelLoadError: a part is missing or damaged, or two do not fit each other.
    """
    check_sizes(config, label)
    weights = find_weights(path, label)
    # An adapter brings a head of its own.
    if vocabulary is not None and adapter_of(path) is None:
        check_head(vocabulary, weights, label)
    check_tokenizer(path, config, label)
    if config.get("model_type") == "instructblip":
        _check_qformer_tokenizer(path, config, label)
    return weights


def check_image_token(path: Path, config: Mapping[str, Any], label: str) -> None:
    """Check that config and processor agree on how an image stands in text.

    Otherwise transformers' own processors build prompts in which the image has no place, and the answer ignores it.

    Raises:
        ModelLoadError: the config or the tokenizer lacks the image token, or the counts of query tokens differ.
    """
    token = config.get("image_token_index", config.get("image_token_id"))
    if not isinstance(token, int):
        raise ModelLoadError(
            f"{label}: config.json has no image_token_index, so images would have no place in the text; "
            f"add '<image>' to the tokenizer, resize the embeddings and set image_token_index to its id"
        )
    count = read_json(path, "processor_config.json", required=False).get("num_query_tokens")
    wanted = config.get("num_query_tokens", 32)
    if count is not None and count != wanted:
        raise ModelLoadError(
            f"{label}: processor_config.json gives an image {count} tokens, config.json {wanted}; they must agree"
        )


def _check_qformer_tokenizer(path: Path, config: Mapping[str, Any], label: str) -> None:
    inner = path / QFORMER_TOKENIZER
    if not inner.is_dir():
        raise ModelLoadError(f"{label}: {QFORMER_TOKENIZER}/ is missing; its Q-Former reads the question")
    check_tokenizer(inner, {"qformer_config": config.get("qformer_config")}, f"{label}: {QFORMER_TOKENIZER}/")
