from __future__ import annotations

from pathlib import Path

import torch

from tests.helpers.tiny import ANSWERS, SHAPE, WORDS, save_tiny_vilt, tiny_model
from tests.helpers.wordpiece import build_tokenizer
from vqa_ray.training.vqa.network import build_vilt


def test_the_tokenizer_keeps_known_words_whole_and_spells_the_rest() -> None:
    tokenizer = build_tokenizer(["Mug", "t-shirt"])
    assert tokenizer.tokenize("a MUG?") == ["a", "mug", "?"]
    assert tokenizer.tokenize("t-shirt") == ["t", "-", "shirt"]
    assert tokenizer.tokenize("gum") == ["g", "##u", "##m"]
    assert tokenizer.unk_token not in tokenizer.tokenize("zebra 42 (x)")
    assert tokenizer("mug")["input_ids"] == tokenizer(" mug ")["input_ids"]


def test_the_seed_decides_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = build_vilt(SHAPE, 50, ANSWERS, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    second = build_vilt(SHAPE, 50, ANSWERS, seed=3)
    other = build_vilt(SHAPE, 50, ANSWERS, seed=4)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.classifier[0].weight, other.classifier[0].weight)


def test_a_saved_checkpoint_loads_with_transformers_alone(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, ViltForQuestionAnswering, ViltProcessor

    save_tiny_vilt(tmp_path)
    loaded = ViltForQuestionAnswering.from_pretrained(tmp_path)
    model, tokenizer = tiny_model()
    assert [loaded.config.id2label[i] for i in range(len(ANSWERS))] == list(ANSWERS)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    question = " ".join(WORDS)
    assert AutoTokenizer.from_pretrained(tmp_path)(question) == tokenizer(question)
    processor = ViltProcessor.from_pretrained(tmp_path)
    assert processor.image_processor.size["shortest_edge"] == SHAPE.shortest_edge
