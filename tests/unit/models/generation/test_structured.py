"""Objects are held to their schema while they are written, whatever the model would write."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import jsonschema
import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.helpers.hostile_schemas import hostile_schema
from tests.helpers.random_decoding import RandomDecoding
from tests.helpers.tiny_chat_text import LLAVA_TOKENS, QWEN_TOKENS, build_tokenizer
from vqa_ray.models.generation.structured import SchemaWriter
from vqa_ray.structured.filled import read_object
from vqa_ray.structured.parse import parse_schema
from vqa_ray.types import WrittenObject

# More logits than the tokenizer has tokens, as published checkpoints have.
VOCABULARY = 512


@cache
def writer(spaces: bool = False) -> SchemaWriter:
    if spaces:
        tokenizer = llama_like()
    else:
        tokenizer = build_tokenizer(QWEN_TOKENS, spaces=False, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    return SchemaWriter(tokenizer, VOCABULARY, [tokenizer.eos_token_id], "model tiny")


def llama_like() -> Any:
    """The tiny tokenizer of LLaVA, with its bytes among the plain tokens as Llama has them."""
    tokenizer = build_tokenizer(LLAVA_TOKENS, spaces=True, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    facts = json.loads(tokenizer.backend_tokenizer.to_str())
    facts["added_tokens"] = [each for each in facts["added_tokens"] if not each["content"].startswith("<0x")]
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(facts)), eos_token="</s>")


def write(document: dict[str, Any], rows: int, seed: int, limit: int = 400, **options: Any) -> list[WrittenObject]:
    schema = parse_schema(document, "s.json")
    decoding = RandomDecoding(rows, VOCABULARY, seed)
    return writer(**options).write(decoding, schema.wire, limit, [None] * rows)


@pytest.mark.parametrize("spaces", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_objects_are_valid_by_hostile_schemas(seed: int, spaces: bool) -> None:
    document = hostile_schema(seed)
    for written in write(document, 6, seed, spaces=spaces):
        assert written.finish_reason == "stop"
        assert b"".join(written.tokens).decode() == written.text
        found = read_object(parse_schema(document, "s.json"), written)
        jsonschema.validate(json.loads(found.text), document)
        assert found.scores


def test_an_object_has_no_white_space_outside_its_texts() -> None:
    """As the grammars of vLLM's servers write: every engine is held to the same tokens."""
    properties = {"a": {"enum": ["x y", "z"]}, "b": {"type": "array", "items": {"enum": [1, 22]}, "minItems": 2}}
    for written in write({"type": "object", "properties": properties, "required": ["a", "b"]}, 8, 0):
        assert written.text == json.dumps(json.loads(written.text), separators=(",", ":"))


def test_log_probabilities_are_those_among_the_allowed_tokens() -> None:
    document = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    (written,) = write(document, 1, 0)
    decided = [value for value in written.log_probabilities or () if value != 0]
    assert all(value < 0 for value in decided)
    score = read_object(parse_schema(document, "s.json"), written).scores["a"]
    assert score == pytest.approx(math.exp(sum(decided)))


def test_tokens_without_an_alternative_are_read_together() -> None:
    document = {"type": "object", "properties": {"a_very_long_name_of_a_field": {"type": "boolean"}}}
    decoding = RandomDecoding(3, VOCABULARY)
    schema = parse_schema({**document, "required": ["a_very_long_name_of_a_field"]}, "s.json")
    written = writer().write(decoding, schema.wire, 400, [None] * 3)
    lengths = [len(each.tokens) for each in written]
    assert decoding.fed[0].shape[1] > 10
    assert len(decoding.fed) < min(lengths) / 2


def test_a_text_that_never_ends_is_cut_at_the_limit() -> None:
    document = {"type": "object", "properties": {"a": {"type": "string", "minLength": 50}}, "required": ["a"]}
    for written in write(document, 4, 0, limit=20):
        assert written.finish_reason == "length"
        assert len(written.tokens) == len(written.log_probabilities or ()) == 20
        assert written.text.startswith('{"a":"')


def test_an_object_may_be_as_long_as_the_limit() -> None:
    document = {"type": "object", "properties": {"a": {"enum": ["red"]}}, "required": ["a"]}
    (whole,) = write(document, 1, 0)
    (same,) = write(document, 1, 0, limit=len(whole.tokens))
    (cut,) = write(document, 1, 0, limit=len(whole.tokens) - 1)
    assert (whole.finish_reason, same.finish_reason, cut.finish_reason) == ("stop", "stop", "length")


@pytest.mark.soak
def test_ten_thousand_objects_are_valid() -> None:
    count = 0
    for seed in range(500):
        document = hostile_schema(seed)
        schema = parse_schema(document, "s.json")
        for written in write(document, 20, seed, limit=2_000, spaces=seed % 5 == 0):
            assert written.finish_reason == "stop"
            jsonschema.validate(json.loads(read_object(schema, written).text), document)
            count += 1
    assert count == 10_000


def test_rows_of_different_length_do_not_disturb_each_other() -> None:
    """A row's object follows from its own logits, whatever stands beside it."""
    document = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 30}}, "required": ["a"]}
    schema = parse_schema(document, "s.json")

    class Fixed(RandomDecoding):
        """Logits that follow from the tokens that a row has read."""

        def __init__(self, read: list[tuple[int, ...]]) -> None:
            self.read = read
            self.logits = torch.stack([self.of(row) for row in read])

        def of(self, tokens: tuple[int, ...]) -> torch.Tensor:
            return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(hash(tokens) % 2**31))

        def decode(self, tokens: torch.Tensor) -> torch.Tensor:
            steps = []
            for step in tokens.unbind(1):
                self.read = [(*row, token) for row, token in zip(self.read, step.tolist(), strict=True)]
                steps.append(torch.stack([self.of(row) for row in self.read]))
            return torch.stack(steps, dim=1)

        def select(self, rows: torch.Tensor) -> Fixed:
            return Fixed([self.read[row] for row in rows.tolist()])

    prompts = [(number,) for number in range(8)]
    together = writer().write(Fixed(prompts), schema.wire, 200, [None] * 8)
    alone = [writer().write(Fixed([prompt]), schema.wire, 200, [None])[0] for prompt in prompts]
    assert [each.text for each in together] == [each.text for each in alone]
    assert len({each.text for each in together}) > 1
