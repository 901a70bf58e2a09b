"""BERT's tokenizer without transformers, for checkpoints whose files leave no doubt about it.

transformers builds a `BertTokenizer` anew from the vocabulary in tokenizer.json and the switches in
tokenizer_config.json. Where the two files agree, what tokenizer.json describes is that tokenizer, and the library
`tokenizers` reads it in a hundredth of the time of importing transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.files import read_json

_CLASSES = ("BertTokenizer", "BertTokenizerFast")
_SPECIAL = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
# Entries of tokenizer_config.json that change what the tokenizer does, and the value with which they do not.
_NEUTRAL: Mapping[str, Any] = {
    "padding_side": "right",
    "truncation_side": "right",
    "split_special_tokens": False,
    "add_bos_token": None,
    "add_eos_token": None,
    "pad_to_multiple_of": None,
    "stride": 0,
}
_PIECES = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}


class WordPieceTokenizer:
    """A BERT tokenizer; calls and attributes are those of transformers' that this project uses."""

    padding_side = "right"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.pad_token_id: int = tokenizer.token_to_id(_SPECIAL["pad_token"])
        self.unk_token_id: int = tokenizer.token_to_id(_SPECIAL["unk_token"])
        self.all_special_ids = [tokenizer.token_to_id(token) for token in _SPECIAL.values()]

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> dict[str, Any]:
        """Tokenise a text or several, as `PreTrainedTokenizerBase.__call__` does.

        Args:
            text: one, or a list of several.
            add_special_tokens: put [CLS] in front and [SEP] behind.
            padding: True pads to the longest text, "max_length" to `max_length`.
            truncation: cut to `max_length` tokens, special ones included.
            max_length: tokens.
            return_tensors: "pt" for int64 tensors (T, L), None for lists.
            verbose: without effect.

        Returns:
            `input_ids` and `attention_mask`.
        """
        if truncation and max_length is not None:
            self._tokenizer.enable_truncation(max_length)
        else:
            self._tokenizer.no_truncation()
        alone = isinstance(text, str)
        texts = [text] if isinstance(text, str) else list(text)
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        ids: list[list[int]] = [each.ids for each in encoded]
        mask = [[1] * len(each) for each in ids]
        if padding:
            length = max_length if padding == "max_length" and max_length else max(map(len, ids), default=0)
            mask = [row + [0] * (length - len(row)) for row in mask]
            ids = [row + [self.pad_token_id] * (length - len(row)) for row in ids]
        if return_tensors == "pt":
            import torch

            return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        return {"input_ids": ids[0] if alone else ids, "attention_mask": mask[0] if alone else mask}


def load_wordpiece(path: Path) -> WordPieceTokenizer | None:
    """Load the tokenizer of a checkpoint where it is BERT's and its files agree.

    Returns:
        The tokenizer; None where only transformers can tell what it is.
    """
    if not (path / "tokenizer.json").is_file() or (path / "added_tokens.json").exists():
        return None
    try:
        switches = read_json(path, "tokenizer_config.json", required=False)
        content = read_json(path, "tokenizer.json")
        special = read_json(path, "special_tokens_map.json", required=False)
    except ModelLoadError:
        return None
    if not (_is_plain_bert(switches, special) and _describes_bert(content, switches)):
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_padding()
    return WordPieceTokenizer(tokenizer)


def _is_plain_bert(switches: Mapping[str, Any], special: Mapping[str, Any]) -> bool:
    """Whether the class is BERT's, with its own special tokens and nothing added."""
    if switches.get("tokenizer_class") not in _CLASSES:
        return False
    if any(switches.get(name, neutral) not in (neutral, None) for name, neutral in _NEUTRAL.items()):
        return False
    for given in (switches, special):
        if any(_text(given.get(name, token)) != token for name, token in _SPECIAL.items()):
            return False
        if any(given.get(name) for name in ("additional_special_tokens", "extra_special_tokens")):
            return False
    decoder = switches.get("added_tokens_decoder") or {}
    return all(_is_special(entry) for entry in decoder.values())


def _describes_bert(content: Mapping[str, Any], switches: Mapping[str, Any]) -> bool:
    """Whether tokenizer.json describes what transformers builds from these switches."""
    model = dict(content.get("model") or {})
    vocabulary = model.pop("vocab", None)
    normaliser = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": switches.get("tokenize_chinese_chars", True),
        "strip_accents": switches.get("strip_accents"),
        "lowercase": switches.get("do_lower_case", True),
    }
    if model != _PIECES or not isinstance(vocabulary, dict) or content.get("normalizer") != normaliser:
        return False
    if content.get("pre_tokenizer") != {"type": "BertPreTokenizer"}:
        return False
    added = content.get("added_tokens") or []
    if sorted(entry.get("content", "") for entry in added) != sorted(_SPECIAL.values()):
        return False
    if not all(_is_special(entry) and vocabulary.get(entry["content"]) == entry.get("id") for entry in added):
        return False
    return _closes_as_bert(content.get("post_processor") or {}, vocabulary)


def _closes_as_bert(processor: Mapping[str, Any], vocabulary: Mapping[str, int]) -> bool:
    """Whether a text stands between [CLS] and [SEP]."""
    order = [(kind, part.get("id")) for piece in processor.get("single") or [] for kind, part in piece.items()]
    if order != [("SpecialToken", "[CLS]"), ("Sequence", "A"), ("SpecialToken", "[SEP]")]:
        return False
    tokens = processor.get("special_tokens") or {}
    return all(tokens.get(token, {}).get("ids") == [vocabulary[token]] for token in ("[CLS]", "[SEP]"))


def _is_special(entry: Mapping[str, Any]) -> bool:
    return entry.get("content") in _SPECIAL.values() and all(entry.get(name) == value for name, value in _PLAIN.items())


def _text(token: object) -> object:
    """Read a special token as files write it: a text, or an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token
