"""What a server may send in the place of an answer: rows of the run, and never its end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.helpers.openai_server import serving
from tests.unit.stages.test_answer import decoded
from vqa_ray.errors import RowError
from vqa_ray.models.endpoint import client
from vqa_ray.models.endpoint.client import Client
from vqa_ray.models.endpoint.completion import UnusableResponseError, error_message, parse
from vqa_ray.models.endpoint.model import EndpointModel
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.types import Usage

IMAGE = np.zeros((4, 4, 3), np.uint8)
NAME = "openai:tiny"


def body(*tokens: dict[str, Any], **more: Any) -> bytes:
    choice = {"message": {"content": "red"}, "finish_reason": "stop", "logprobs": {"content": tokens}}
    return json.dumps({"choices": [choice]} | more).encode()


@pytest.mark.parametrize("sent", [b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000, b"", b"null", b"\xff\xfe"])
def test_a_body_that_is_no_answer(sent: bytes) -> None:
    with pytest.raises(UnusableResponseError, match="the endpoint sent no chat completion but"):
        parse(sent)
    assert error_message(sent)[0] == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, 10**400, 0.5, True, "-1", None])
def test_log_probabilities_that_are_none_are_left_out(value: object) -> None:
    token = {"token": "red", "logprob": value}
    top = {"token": "red", "logprob": -1.0, "top_logprobs": [token]}
    for sent in (body(token), body(top)):
        found = parse(sent)
        assert (found.text, found.log_probabilities, dict(found.first)) == ("red", None, {})


def test_a_log_probability_a_little_above_0_is_0() -> None:
    assert parse(body({"token": "red", "logprob": 1e-6})).log_probabilities == (0.0,)


@pytest.mark.parametrize("given", [10**15, "red", None, {"0": 1}])
def test_bytes_that_are_no_list_are_those_of_the_token(given: object) -> None:
    assert parse(body({"token": "red", "logprob": -1.0, "bytes": given})).tokens == (b"red",)


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(1, 5, 2)),
        ({"total_tokens": 7}, Usage(1, 7, 0)),
        ({"prompt_tokens": -5, "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 10**400, "completion_tokens": 2, "total_tokens": 10**400}, None),
    ],
)
def test_tokens_that_no_request_takes_are_not_counted(given: dict[str, Any], usage: Usage | None) -> None:
    assert parse(body(usage=given)).usage == usage


def test_half_of_a_surrogate_pair_is_a_replacement_character() -> None:
    with serving(text=lambda request: "a \ud83d cup", has_logprobs=False) as server:
        options = ModelOptions(NAME, endpoint=EndpointOptions(server.url))
        (row,) = AnswerStage(AnswerConfig(options, 1))(decoded([{}])).to_pylist()
    assert (row["status"], row["answer"]) == ("ok", "a \ufffd cup")
    assert error_message(json.dumps({"error": {"message": "\ud83d"}}).encode()) == ("", "\ufffd")


def test_an_answer_without_end_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MAX_RESPONSE_BYTES", 2**17)
    with serving(text=lambda request: "a" * 2**18) as server:
        options = EndpointOptions(server.url)
        model = EndpointModel(Client(options, NAME, attempts=1), "tiny", GenerationConfig(), options)
        with pytest.raises(RowError, match=r"endpoint_failed: more than 131072 bytes \(attempts: 1\)"):
            model.answer([IMAGE], [["a?"]], 1)


@pytest.mark.parametrize("id_", ["", "chatcmpl-417"])
def test_ids_that_are_not_unique_tell_nothing(id_: str) -> None:
    """Text Generation Inference sends none, Ollama draws them below 999."""
    with serving(id_of=lambda number: id_, text=lambda request: "red") as server:
        options = EndpointOptions(server.url)
        model = EndpointModel(Client(options, NAME, attempts=1), "tiny", GenerationConfig(), options)
        (answers,) = model.answer([IMAGE], [["a?", "b?", "c?"]], 1)
    assert [answer.answers[0][0] for answer in answers] == ["red"] * 3
