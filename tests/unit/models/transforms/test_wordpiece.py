"""BERT's tokenizer without transformers: the same tokens, and None wherever the files leave a doubt."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from vqa_ray.models.checkpoint.files import local_directory
from vqa_ray.models.transforms.wordpiece import load_wordpiece

BUNDLED = ("bundled:catalog-vilt", "bundled:catalog-clip")
TEXTS = st.text() | st.lists(
    st.sampled_from(["is", "there", "a", "dog?", "DÔG", "[SEP]", "[PAD]", "##s", "犬", "t-shirt", "xyzzy", "\u200b"])
).map(" ".join)


@functools.cache
def both(reference: str) -> tuple[Any, Any]:
    path = local_directory(reference)
    ours = load_wordpiece(path)
    assert ours is not None
    return ours, AutoTokenizer.from_pretrained(path)


@pytest.mark.parametrize("reference", BUNDLED)
@settings(max_examples=300, deadline=None)
@given(text=TEXTS, special=st.booleans())
def test_tokens_are_those_of_transformers(reference: str, text: str, special: bool) -> None:
    ours, stock = both(reference)
    options = {"add_special_tokens": special, "truncation": False, "verbose": False}
    assert ours(text, **options)["input_ids"] == stock(text, **options)["input_ids"]


@pytest.mark.parametrize("reference", BUNDLED)
@settings(max_examples=100, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), padding=st.sampled_from([True, "max_length"]))
def test_padding_and_cutting_are_those_of_transformers(reference: str, texts: list[str], padding: bool | str) -> None:
    ours, stock = both(reference)
    options = {"padding": padding, "truncation": True, "max_length": 12, "return_tensors": "pt"}
    mine, theirs = ours(texts, **options), stock(texts, **options)
    assert mine["input_ids"].tolist() == theirs["input_ids"].tolist()
    assert mine["attention_mask"].tolist() == theirs["attention_mask"].tolist()


@pytest.mark.parametrize("reference", BUNDLED)
def test_attributes_are_those_of_transformers(reference: str) -> None:
    ours, stock = both(reference)
    assert (ours.pad_token_id, ours.unk_token_id, len(ours), ours.padding_side) == (
        stock.pad_token_id,
        stock.unk_token_id,
        len(stock),
        stock.padding_side,
    )
    assert set(ours.all_special_ids) == set(stock.all_special_ids)


def edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edited(directory: Path) -> None:
        path = directory / name
        content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        change(content)
        path.write_text(json.dumps(content), "utf-8")

    return edited


DOUBTS = {
    "another class": edit("tokenizer_config.json", lambda c: c.update(tokenizer_class="CLIPTokenizer")),
    "another case": edit("tokenizer_config.json", lambda c: c.update(do_lower_case=False)),
    "a token of its own": edit("tokenizer_config.json", lambda c: c.update(unk_token="<unk>")),
    "padding on the left": edit("tokenizer_config.json", lambda c: c.update(padding_side="left")),
    "more special tokens": edit("tokenizer_config.json", lambda c: c.update(extra_special_tokens=["<image>"])),
    "added tokens": edit("added_tokens.json", lambda c: c.update({"<image>": 300})),
    "a special token elsewhere": edit("special_tokens_map.json", lambda c: c.update(cls_token="<s>")),
    "another model": edit("tokenizer.json", lambda c: c["model"].update(max_input_chars_per_word=10)),
    "another normaliser": edit("tokenizer.json", lambda c: c["normalizer"].update(lowercase=False)),
    "another end": edit("tokenizer.json", lambda c: c["post_processor"]["single"].pop()),
    "a token that strips": edit("tokenizer.json", lambda c: c["added_tokens"][4].update(lstrip=True)),
    "not JSON": lambda directory: (directory / "tokenizer.json").write_text("{", "utf-8"),
    "no file": lambda directory: (directory / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("change", DOUBTS.values(), ids=list(DOUBTS))
def test_a_doubt_is_left_to_transformers(change: Callable[[Path], object], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(local_directory(BUNDLED[0]), tmp_path / "model"))
    assert load_wordpiece(copy) is not None
    change(copy)
    assert load_wordpiece(copy) is None
