"""The tokenizer of a network that is trained from scratch: WordPiece, learnt from texts."""

from __future__ import annotations

import functools
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.checkpoint.weights import load_text_tokenizer

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = string.ascii_lowercase + string.digits
_CHARACTERS = frozenset(_LETTERS + string.punctuation)
# Of other scripts; the rarer ones are unknown, or they would leave no room for words.
_OTHER_CHARACTERS = 1_000


def train_tokenizer(questions: Iterable[str], vocab_size: int, max_text_tokens: int = 40) -> Any:
    """Learn the pieces of a lower-casing WordPiece tokenizer from questions.

    Every ASCII letter, digit and mark is a piece, so hardly a word is unknown whatever is asked later. The same
    questions give the same tokenizer.

    Args:
        questions: the texts to learn from.
        vocab_size: at most so many pieces, special ones included; few questions need fewer.
        max_text_tokens: the `model_max_length` that is saved with it.

    Raises:
        RequestError: `vocab_size` does not even hold the single characters.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import WordPieceTrainer

    words: Counter[str] = Counter()
    for question, count in Counter(questions).items():
        words.update(dict.fromkeys(split_words(question), count))
    others: Counter[str] = Counter()
    for word, count in words.items():
        others.update(dict.fromkeys(set(word) - _CHARACTERS, count))
    rare = sorted(others, key=lambda character: (-others[character], character))[:_OTHER_CHARACTERS]
    pieces = [*single_characters(), *sorted(rare), *(f"##{character}" for character in sorted(rare))]
    if vocab_size < len(pieces):
        raise RequestError(f"a vocabulary of {vocab_size} pieces is too small: {len(pieces)} are single characters")
    model = Tokenizer(WordPiece(unk_token=_SPECIAL[1]))
    model.pre_tokenizer = WhitespaceSplit()
    # Given as special, the single characters have fixed ranks: left to the trainer, ties would be broken at random.
    trainer = WordPieceTrainer(vocab_size=vocab_size, min_frequency=2, special_tokens=pieces, show_progress=False)
    model.train_from_iterator(sorted(words.elements()), trainer)
    vocabulary: dict[str, int] = model.get_vocab()
    learnt = sorted(vocabulary, key=vocabulary.__getitem__)[:vocab_size]
    return wordpiece(learnt, max_text_tokens)


def load_tokenizer(path: Path, vocab_size: int, label: str) -> Any:
    """Load the tokenizer of a checkpoint, and check that its network knows all tokens.

    Raises:
        ModelLoadError: it cannot be loaded, or has more tokens than the network.
    """
    tokenizer = load_text_tokenizer(path, label=label)
    if len(tokenizer) > vocab_size:
        raise ModelLoadError(f"{label}: the tokenizer has {len(tokenizer)} tokens, the network knows {vocab_size}")
    return tokenizer


def question_tokenizer(tokenizer: Any, max_text_tokens: int = 40) -> Callable[[str], tuple[int, ...]]:
    """Question → token ids, cut to the limit; questions seen before are remembered."""

    @functools.lru_cache(maxsize=100_000)
    def tokenize(question: str) -> tuple[int, ...]:
        return tuple(tokenizer(question, truncation=True, max_length=max_text_tokens)["input_ids"])

    return tokenize


def wordpiece(pieces: Sequence[str], max_text_tokens: int) -> Any:
    """Make a lower-casing tokenizer of these pieces."""
    from transformers import BertTokenizerFast

    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return BertTokenizerFast(vocab=vocabulary, do_lower_case=True, model_max_length=max_text_tokens)


def single_characters() -> list[str]:
    """Return the pieces that every vocabulary begins with: special ones, and ASCII letters, digits and marks."""
    return [*_SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *string.punctuation]


def split_words(text: str) -> list[str]:
    """Return the words and marks of a text, as BERT's tokenizer sees them."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    return [part for part, _ in BertPreTokenizer().pre_tokenize_str(BertNormalizer(lowercase=True).normalize_str(text))]
