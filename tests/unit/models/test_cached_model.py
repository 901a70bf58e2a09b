"""A model behind a cache: the same results, fewer questions, errors never kept."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.cache.answer_cache import AnswerCache, write_news
from vqa_ray.cache.directory import open_directory
from vqa_ray.errors import ErrorCode, ModelLoadError, RequestError, RowError
from vqa_ray.models.cached_model import CachedModel
from vqa_ray.models.fake.model import FAILURE, FakeModel
from vqa_ray.models.load import ModelOptions
from vqa_ray.types import Answer, ChoiceScores, Image, Usage, WrittenObject

RED, BLUE = (np.full((4, 6, 3), colour, np.uint8) for colour in ((220, 30, 30), (40, 70, 210)))
COLOURS = ("red", "green", "blue")


class CountingModel(FakeModel):
    """A fake model that counts what it is asked, and answers anything about `broken` with a score that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int, **more: Any) -> Any:
        self.asked += [text for each in questions for text in each]
        return super().answer(images, questions, top_k, **more)

    def score(self, images: Sequence[Image], questions: Sequence[Sequence[str]], choices: Any) -> Any:
        self.asked += [text for each in questions for text in each]
        scored = super().score(images, questions, choices)
        return [
            [
                ChoiceScores((math.nan,)) if "broken" in text else result
                for text, result in zip(asked, each, strict=True)
            ]
            for asked, each in zip(questions, scored, strict=True)
        ]

    def caption(self, images: Sequence[Image], prompt: str | None) -> list[Answer]:
        self.asked += [prompt] * len(images)
        return super().caption(images, prompt)

    def fill(self, images: Sequence[Image], prompts: Sequence[str], schema: Any) -> list[WrittenObject]:
        self.asked += list(prompts)
        return [WrittenObject(f"{prompt}{schema}", (b"\xff",), (-0.5,), "stop") for prompt in prompts]


def _cached(uri: Path | str, model: FakeModel) -> tuple[CachedModel, AnswerCache]:
    cache = AnswerCache(str(uri))
    return CachedModel(lambda: model, "model x", cache, "context", None), cache


def _kept(cache: AnswerCache) -> Any:
    return write_news(cache.uri, [cache.take_news()])


@pytest.fixture
def uri(tmp_path: Path) -> str:
    open_directory(str(tmp_path / "cache"))
    return str(tmp_path / "cache")


def test_a_second_process_asks_nothing_and_loads_nothing(uri: str) -> None:
    first = CountingModel()
    model, cache = _cached(uri, first)
    questions, choices = [["what colour?", "is it red?"], ["what colour?"]], [[COLOURS, ("yes", "no")], [COLOURS]]
    turns = [[(("what?", "a mug"),), ()], [()]]

    def ask(model: Any) -> list[Any]:
        return [
            model.answer([RED, BLUE], questions, 2),
            model.answer([RED, (BLUE, RED)], questions, 2, contexts=turns),
            model.score([RED, BLUE], questions, choices),
            model.caption([RED, BLUE], None),
            model.caption([RED], "a photo of"),
            model.fill([RED, BLUE], ["x", "y"], {"type": "object"}),
            # Each differs from one above in what is asked for alone.
            model.answer([RED], [["what colour?"]], 1),
            model.score([RED], [["what colour?"]], [[COLOURS[:2]]]),
            model.fill([RED], ["x"], {"type": "array"}),
        ]

    with pytest.MonkeyPatch.context() as patch:
        # The fake model takes one image; a list of them is what matters here.
        patch.setattr("vqa_ray.models.fake.model._mean_colour", lambda image: (len(image), 0, 0))
        results = ask(model)
        assert results == ask(CountingModel())
    usage = _kept(cache)
    # One question without earlier turns is the same in both rounds.
    assert (usage.hits, usage.misses) == (1, len(first.asked))

    def never() -> FakeModel:
        raise AssertionError("loaded")

    second, cache = CachedModel(never, "model x", AnswerCache(uri), "context", None), AnswerCache(uri)
    assert ask(second) == results
    assert second.inner_or_none is None


def test_only_a_new_attribute_is_asked(uri: str) -> None:
    attributes = [f"attribute {number}?" for number in range(8)]
    model, cache = _cached(uri, CountingModel())
    model.score([RED, BLUE], [attributes[:7]] * 2, [[COLOURS] * 7] * 2)
    _kept(cache)
    again = CountingModel()
    model, cache = _cached(uri, again)
    assert model.score([RED, BLUE], [attributes] * 2, [[COLOURS] * 8] * 2) == FakeModel().score(
        [RED, BLUE], [attributes] * 2, [[COLOURS] * 8] * 2
    )
    assert again.asked == [attributes[7]] * 2
    usage = _kept(cache)
    assert (usage.hits, usage.misses) == (14, 2)
    assert usage.saved_s > 0


def test_the_same_pixels_twice_are_asked_once_within_a_call_and_between_calls(uri: str) -> None:
    inner = CountingModel()
    model, cache = _cached(uri, inner)
    results = model.answer([RED, RED.copy(), BLUE], [["what?"], ["what?", "where?"], ["what?"]], 1)
    assert inner.asked == ["what?", "where?", "what?"]
    assert results[0][0] == results[1][0]
    model.answer([BLUE, RED], [["what?"], ["where?"]], 1)
    assert len(inner.asked) == 3
    usage = _kept(cache)
    assert (usage.hits, usage.misses) == (3, 3)


def test_what_an_endpoint_took_is_counted_once(uri: str) -> None:
    class Paid(CountingModel):
        def score(self, images: Sequence[Image], questions: Sequence[Sequence[str]], choices: Any) -> Any:
            scored = super().score(images, questions, choices)
            return [[replace(each, usage=Usage(1, 9, 1, 0.5)) for each in of_image] for of_image in scored]

    model, _ = _cached(uri, Paid())
    asked = [["what?"], ["what?"]]
    first, again = model.score([RED, RED], asked, [[COLOURS]] * 2), model.score([RED, RED], asked, [[COLOURS]] * 2)
    assert [each[0].usage for each in (*first, *again)] == [Usage(1, 9, 1, 0.5), *[Usage(cost=0.0)] * 3]


def test_errors_are_never_kept(uri: str) -> None:
    model, cache = _cached(uri, CountingModel())
    with pytest.raises(ValueError, match=FAILURE):
        model.answer([RED], [["fine?", FAILURE]], 1)
    assert math.isnan(model.score([RED], [["broken?"]], [[COLOURS]])[0][0].scores[0])
    assert cache.take_news()["entries"] == []


def test_a_model_that_does_not_load_is_no_error_of_a_row(uri: str) -> None:
    def fails() -> FakeModel:
        raise MemoryError("no room")

    model = CachedModel(fails, "model x", AnswerCache(uri), "context", None)
    with pytest.raises(ModelLoadError, match="model x: cannot be loaded: no room"):
        model.answer([RED], [["what?"]], 1)

    def refuses() -> FakeModel:
        raise RowError(ErrorCode.MODEL_ERROR, "odd")

    model = CachedModel(refuses, "model x", AnswerCache(uri), "context", None)
    with pytest.raises(ModelLoadError, match="odd"):
        model.caption([RED], None)


def test_two_calls_at_a_time_load_one_model(uri: str) -> None:
    loaded = []

    def load() -> FakeModel:
        loaded.append(FakeModel())
        time.sleep(0.05)
        return loaded[-1]

    model = CachedModel(load, "model x", AnswerCache(uri), "context", None)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: model.answer([RED], [[f"what {number}?"]], 1), range(8)))
    assert len(loaded) == 1
    assert found == [FakeModel().answer([RED], [[f"what {number}?"]], 1) for number in range(8)]


def test_choices_of_a_model_that_writes_are_checked_when_it_is_loaded(uri: str) -> None:
    class Mute(CountingModel):
        def known_choices(self, choices: Sequence[str]) -> list[bool]:
            return [choice != "☃" for choice in choices]

    model, _ = _cached(uri, Mute())
    assert model.known_choices(["red", "☃", " "]) == [True, True, False]
    with pytest.raises(RequestError, match="model x: cannot answer '☃'"):
        model.score([RED], [["what?"]], [[("red", "☃")]])


def test_options_load_a_model_behind_their_cache_and_travel(uri: str) -> None:
    options = pickle.loads(pickle.dumps(ModelOptions("fake:", cache=AnswerCache(uri))))
    model = options.load()
    assert isinstance(model, CachedModel)
    assert model.inner_or_none is None
    assert model.score_meaning == FakeModel.score_meaning
    assert model.answer([RED], [["what colour?"]], 1) == FakeModel().answer([RED], [["what colour?"]], 1)
    assert pickle.loads(pickle.dumps((options, options.cache)))[0].cache is not None
    travelled, cache = pickle.loads(pickle.dumps((options, options.cache)))
    assert travelled.cache is cache


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "A", "a ", "b"]), st.integers(1, 2)), max_size=12))
def test_whatever_is_asked_in_whatever_order_the_results_are_the_models(asked: list[tuple[int, str, int]]) -> None:
    pixels = [RED, RED.reshape(6, 4, 3), RED.copy(), BLUE]
    cache = AnswerCache("/nonexistent/cache")
    model = CachedModel(FakeModel, "model x", cache, "context", None)
    for image, question, top_k in asked:
        wanted = FakeModel().answer([pixels[image]], [[question]], top_k)
        assert model.answer([pixels[image]], [[question]], top_k) == wanted
