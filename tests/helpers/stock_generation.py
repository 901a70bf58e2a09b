"""What transformers itself generates, one image and one question at a time, for the engines to equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers import tiny_blip
from vqa_ray.models.generation.engine import GenerativeEngine
from vqa_ray.types import Answer, Image

# 100 pairs: some images bring one question, some many.
COUNTS = (1, 7, 3, 5, 2, 7, 6, 4, 7, 1, 7, 6, 5, 7, 4, 6, 7, 3, 5, 7)


def mixed_pairs() -> tuple[list[Image], list[list[str]]]:
    """20 images with 100 questions among them, in varying order."""
    asked = [
        [tiny_blip.QUESTIONS[(start + place) % len(tiny_blip.QUESTIONS)] for place in range(count)]
        for start, count in enumerate(COUNTS)
    ]
    return tiny_blip.random_images(len(COUNTS)), asked


def stock_tokens(model: Any, processor: Any, image: Image, text: str | None, **options: Any) -> list[int]:
    """The new tokens of `generate`, the closing one and what is behind it left out."""
    inputs = processor(images=image, text=text, return_tensors="pt", do_resize=False)
    options = {"max_new_tokens": 20, "do_sample": False, "num_beams": 1} | options
    found = model.generate(**inputs, **options)[0].tolist()
    given = getattr(inputs, "input_ids", None) if hasattr(inputs, "input_ids") else None
    start, closing = _start_and_closing(model, given)
    tokens = found[start:]
    ends = [place for place, token in enumerate(tokens) if token in closing]
    return tokens[: ends[0]] if ends else tokens


def _start_and_closing(model: Any, prompt: torch.Tensor | None) -> tuple[int, tuple[int, ...]]:
    """How many tokens `generate` repeats before the new ones, and which token ends a text."""
    text = model.config.text_config
    kind = type(model).__name__
    length = 0 if prompt is None else prompt.shape[1]
    if kind == "BlipForQuestionAnswering":
        return 1, (text.sep_token_id,)
    if kind == "BlipForConditionalGeneration":
        return (length - 1) if length else 1, (text.sep_token_id,)
    if model.language_model.config.is_encoder_decoder:
        return 1, (text.eos_token_id,)
    return length or (model.config.num_query_tokens + 1), (text.eos_token_id,)


# Two tokens whose logits differ by less are a tie: which one is larger depends on the order in which a CPU adds.
_TIE = 1e-4


def is_tie(model: Any, inputs: Any, ours: list[int], stock: list[int]) -> bool:
    """Whether the first token in which two texts differ is as likely as the other, by the logits of `generate`."""
    pairs = list(zip([*ours, None], [*stock, None], strict=False))
    place = next(index for index, (one, other) in enumerate(pairs) if one != other)
    options = {"max_new_tokens": 20, "do_sample": False, "num_beams": 1}
    told = model.generate(**inputs, **options, output_logits=True, return_dict_in_generate=True)
    best, second = told.logits[place][0].float().topk(2).values.tolist()
    return best - second < _TIE


def show_tokens(engine: GenerativeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an engine's answers the ids of their tokens, as text may hide a difference."""
    monkeypatch.setattr(engine, "_text", lambda tokens: " ".join(map(str, tokens)))


def tokens_of(answer: Answer) -> list[int]:
    """The ids of an answer of an engine that shows them."""
    return [int(token) for token in answer.answers[0][0].split()]


def assert_equal_on_mixed_pairs(
    engine: GenerativeEngine, model: Any, processor: Any, prompt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identical tokens on 100 pairs (but for one tie), of answers that differ between images and between questions."""
    show_tokens(engine, monkeypatch)
    images, asked = mixed_pairs()
    answered = engine.answer(images, asked, 1)
    assert sum(map(len, asked)) == 100
    by_question: dict[str, set[str]] = {}
    lengths: list[int] = []
    differ: list[bool] = []
    ties = 0
    for image, questions, answers in zip(images, asked, answered, strict=True):
        for question, answer in zip(questions, answers, strict=True):
            tokens = stock_tokens(model, processor, image, prompt(question))
            if tokens_of(answer) != tokens:
                ties += 1
                inputs = processor(images=image, text=prompt(question), return_tensors="pt", do_resize=False)
                assert is_tie(model, inputs, tokens_of(answer), tokens), f"{question!r}"
            by_question.setdefault(question, set()).add(answer.answers[0][0])
            lengths.append(len(tokens))
        if len(questions) > 1:
            differ.append(len({answer.answers[0][0] for answer in answers}) > 1)
    assert ties <= 1, "more than one of 100 pairs is decided by rounding"
    assert sum(differ) > len(differ) / 2, "the comparison means nothing if questions do not matter"
    for question, texts_of_question in by_question.items():
        assert len(texts_of_question) > 3, f"the image does not matter to {question!r}"
    assert min(lengths) < 20 <= max(lengths), "some texts must end early, and some not"
