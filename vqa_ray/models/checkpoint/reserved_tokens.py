"""The texts that a checkpoint's tokenizer reads as tokens of their own, which no row may spell. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.row_text.cleaning import is_of_common_shape

# Shorter ones are letters and marks that any text holds.
_SHORTEST = 2


def reserved_tokens(directory: Path) -> tuple[str, ...]:
    """Return the added tokens of a tokenizer and its processor, sorted, without those that `clean` knows anyway.

    Raises:
        ModelLoadError: a file is not a JSON object.
    """
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    files = {name: read_json(directory, name, required=False) for name in (*names, "processor_config.json")}
    tokens = {*files["added_tokens.json"], *_texts(files["tokenizer.json"].get("added_tokens"))}
    tokens.update(_texts(files["tokenizer_config.json"].get("added_tokens_decoder")))
    for content in files.values():
        tokens.update(token for key, value in content.items() if _names_tokens(key) for token in _texts(value))
    return tuple(sorted(token for token in tokens if _is_spelt(token)))


def _names_tokens(key: str) -> bool:
    return key.endswith(("_token", "special_tokens"))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a token, a list or a mapping of tokens, in any of the forms that transformers writes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        content = value.get("content")
        yield from _texts(content) if isinstance(content, str) else _all_texts(value.values())
    elif isinstance(value, list):
        yield from _all_texts(value)


def _all_texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from _texts(value)


def _is_spelt(token: str) -> bool:
    """Whether a text can spell the token and `clean` does not know it."""
    return len(token) >= _SHORTEST and not any(map(str.isspace, token)) and not is_of_common_shape(token)
