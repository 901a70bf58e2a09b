"""The tokenizer files of a checkpoint: there, not empty, and within the embeddings. No torch.

transformers builds an empty tokenizer where files are missing: every word becomes the unknown token, and the model
answers without having read the question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.text_encoding import text_lines

_SENTENCEPIECE = (".model",)
# Where families keep the size of their table of token embeddings.
_TEXT_CONFIGS = ("text_config", "llm_config", "qformer_config")
# A vocabulary of special tokens alone reads nothing.
_FEWEST_TOKENS = 5


def check_tokenizer(directory: Path, config: Mapping[str, Any], label: str) -> None:
    """Check that a checkpoint's tokenizer is there and reads text.

    Raises:
        ModelLoadError: files are missing or empty, or tokens have no place in the embeddings.
    """
    tokens = _vocabulary(directory, label)
    if tokens is None:
        return
    if len(tokens) < _FEWEST_TOKENS:
        raise ModelLoadError(
            f"{label}: its tokenizer is empty: it has {len(tokens)} tokens, so no question would be read"
        )
    size = _embeddings(config)
    if size is not None and max(tokens.values()) >= size:
        last = max(tokens, key=lambda token: tokens[token])
        raise ModelLoadError(
            f"{label}: its tokenizer has tokens up to id {tokens[last]} ({last!r}), the network has embeddings for "
            f"{size} (vocab_size of config.json); they are of different models"
        )


def _vocabulary(directory: Path, label: str) -> dict[str, int] | None:
    """Token → id; None where the file is SentencePiece's own, which needs a package to be read."""
    if (directory / "tokenizer.json").is_file():
        return _from_tokenizer_json(directory, label)
    sentencepiece = [path for path in sorted(directory.glob("*.model")) if path.name.endswith(_SENTENCEPIECE)]
    if sentencepiece:
        if not sentencepiece[0].stat().st_size:
            raise ModelLoadError(f"{label}: its tokenizer is empty: {sentencepiece[0].name} has 0 bytes")
        return None
    if (directory / "vocab.txt").is_file():
        words = text_lines((directory / "vocab.txt").read_bytes().decode("utf-8", "replace"))
        return {word: index for index, word in enumerate(words)}
    if (directory / "vocab.json").is_file():
        if not (directory / "merges.txt").is_file():
            raise ModelLoadError(f"{label}: its tokenizer is incomplete: vocab.json is there, merges.txt is missing")
        return _ids(read_json(directory, "vocab.json"), "vocab.json", label)
    raise ModelLoadError(
        f"{label}: it has no tokenizer, so no question would be read: wanted tokenizer.json, vocab.txt, vocab.json "
        "with merges.txt, or a SentencePiece .model; copy them from the model that this one was trained from"
    )


def _from_tokenizer_json(directory: Path, label: str) -> dict[str, int]:
    content = read_json(directory, "tokenizer.json")
    try:
        vocabulary = content["model"]["vocab"]
        # Unigram models list pairs of a token and its score.
        pairs = vocabulary.items() if isinstance(vocabulary, dict) else ((v[0], i) for i, v in enumerate(vocabulary))
        added = {str(token["content"]): token["id"] for token in content.get("added_tokens") or ()}
        return _ids({**dict(pairs), **added}, "tokenizer.json", label)
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"{label}: tokenizer.json has no vocabulary (model.vocab)") from error


def _ids(vocabulary: Mapping[str, Any], name: str, label: str) -> dict[str, int]:
    wrong = next((token for token, index in vocabulary.items() if not isinstance(index, int)), None)
    if wrong is not None:
        raise ModelLoadError(f"{label}: {name} gives the token {wrong!r} the id {json.dumps(vocabulary[wrong])[:40]}")
    return dict(vocabulary)


def _embeddings(config: Mapping[str, Any]) -> int | None:
    """Return the number of token embeddings; None if config.json leaves it to transformers."""
    parts = [config, *(part for name in _TEXT_CONFIGS if isinstance(part := config.get(name), Mapping))]
    sizes = [part["vocab_size"] for part in parts if isinstance(part.get("vocab_size"), int)]
    return max(sizes, default=None)
