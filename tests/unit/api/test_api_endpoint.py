"""Models behind an endpoint, through the Python API."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

import vqa_ray
from tests.helpers.openai_server import ANSWER, TOKENS, WRITTEN, serving
from vqa_ray.errors import RequestError

IMAGE = np.full((12, 20, 3), (200, 30, 30), np.uint8)


def test_a_model_behind_an_endpoint_answers() -> None:
    with serving(first={"yes": 0.9}) as server:
        model = vqa_ray.load("openai:tiny", base_url=server.url, endpoint={"concurrency": 2, "image_encoding": "png"})
        found: Any = model.answer(IMAGE, "which colour?")
        assert (found.text, found.score) == (ANSWER, pytest.approx(0.5))
        assert isinstance(model.caption(IMAGE), vqa_ray.CaptionResult)


def test_a_model_behind_an_endpoint_fills_objects() -> None:
    schema = {"type": "object", "properties": {"code": {"type": "string", "maxLength": 2}}, "required": ["code"]}
    with serving(text=lambda body: '{"code": "ab"}' if len(server.bodies) == 1 else '{"code": "abc"}') as server:
        model = vqa_ray.load("openai:tiny", base_url=server.url)
        found = model.fill(IMAGE, schema, "Read the label.")
        violated = model.fill(IMAGE, schema)
    assert isinstance(found, vqa_ray.FillResult)
    assert (found.values, found.text, found.finish_reason) == ({"code": "ab"}, '{"code":"ab"}', "stop")
    assert isinstance(violated, vqa_ray.RowError)
    assert violated.code == "schema_violated"
    assert server.bodies[0]["messages"][-1]["content"][-1]["text"].startswith(
        "Read the label.\nAnswer with a JSON object"
    )
    with pytest.raises(RequestError, match=r"schema: a text names the column {title}"):
        model.fill(IMAGE, schema, "Is it {title}?")


def test_a_callable_of_an_endpoint_says_what_it_took() -> None:
    with serving() as server:
        ask = pickle.loads(pickle.dumps(vqa_ray.Answer("openai:tiny", "which colour?", base_url=server.url)))
        batch = ask({"image": [IMAGE, IMAGE[:6]]})
    assert list(batch["answer"]) == [ANSWER] * 2
    assert list(batch["prompt_tokens"]) == [TOKENS - WRITTEN] * 2


@pytest.mark.parametrize(
    ("model", "given", "reason"),
    [
        ("openai:tiny", {}, "needs --base-url"),
        ("openai:tiny", {"endpoint": {"concurrency": 1}}, "endpoint: needs base_url"),
        ("fake:", {"base_url": "http://localhost"}, "base_url: is for openai:NAME"),
        ("openai:tiny", {"base_url": "http://example.com/v1"}, "unencrypted to example.com"),
        (
            "openai:tiny",
            {"base_url": "http://localhost", "endpoint": {"speed": 1}},
            "unknown setting .speed.",
        ),
        (
            "openai:tiny",
            {"base_url": "http://localhost", "endpoint": {"concurrency": 0}},
            "concurrency is 0",
        ),
        (
            "openai:tiny",
            {"base_url": "http://localhost", "endpoint": {"concurrency": "8"}},
            "concurrency is '8'; it must be a positive whole number",
        ),
        (
            "openai:tiny",
            {"base_url": "http://localhost", "endpoint": {"request_timeout_s": math.nan}},
            "request_timeout_s is nan; it must be a positive number of seconds",
        ),
        (
            "openai:tiny",
            {"base_url": "http://localhost", "endpoint": {"api_key_env": 5}},
            "api_key_env is 5; wanted the name of an environment variable",
        ),
        ("openai:tiny", {"base_url": "http://a..b/v1"}, "--base-url: not a URL: encoding with 'idna' codec failed"),
        ("openai:tiny", {"base_url": "http://localhost", "endpoint": {"image_encoding": "gif"}}, "wanted jpeg or png"),
    ],
)
def test_wrong_endpoints_are_refused(model: str, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        vqa_ray.load(model, **given)


def test_an_answer_without_log_probabilities_has_no_score() -> None:
    with serving(has_logprobs=False) as server:
        found: Any = vqa_ray.load("openai:tiny", base_url=server.url).answer(IMAGE, "which colour?")
    assert found.score is None
    assert repr(found).startswith("AnswerResult(text='it is red', finish_reason='stop', warning='no score: ")
