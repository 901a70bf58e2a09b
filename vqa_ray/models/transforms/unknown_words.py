"""Words of a question that a tokenizer does not know. No torch here."""

from __future__ import annotations

from typing import Any

_SHOWN = 5


def unknown_words(tokenizer: Any, text: str) -> tuple[str, ...]:
    """Return the words that a tokenizer turns into its unknown token, in order, each once.

    Args:
        tokenizer: of transformers.
        text: of a question, without special tokens.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None or unknown not in _ids(tokenizer, text):
        return ()
    words = text.split()
    found = [word for word in words if unknown in _ids(tokenizer, word)]
    # A tokenizer may know each word and not what stands between two of them.
    return tuple(dict.fromkeys(found)) or (text.strip(),)


def unknown_warning(tokenizer: Any, text: str) -> str | None:
    """Name the words that the model does not know; None if it knows all."""
    words = unknown_words(tokenizer, text)
    if not words:
        return None
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    named = ", ".join(_short(word) for word in words[:_SHOWN])
    return f"the model does not know {named}{more}"


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else f"{word[:39]}…")
