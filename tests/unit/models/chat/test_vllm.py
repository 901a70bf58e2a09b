"""What vLLM is asked, and what its output says, without vLLM."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.chat import vllm as vllm_engine
from vqa_ray.models.chat.vllm import VllmOptions, answer_of, json_extent, messages, model_source
from vqa_ray.types import Box

TOLD = [{5: {"logprob": math.log(0.5)}, 9: {"logprob": 0.0}}, {"6": {"logprob": math.log(0.25)}}]
OUTPUT: dict[str, Any] = {"generated_text": " a dog ", "generated_tokens": np.array([5, 6]), "logprobs": TOLD}


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_vllm_is_told_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"^--engine vllm: vLLM is not installed here; .*vqa-ray\[vllm\].*$"):
        vllm_engine.require_vllm()


def test_the_image_stands_before_the_first_question() -> None:
    url = vllm_engine.picture_url(np.zeros((2, 3, 3), np.uint8))
    assert url.startswith("data:image/png;base64,")
    said = messages("and how big?", [("what is it?", "a dog")], [url])
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert [part["type"] for part in said[0]["content"]] == ["image_url", "text"]
    assert said[0]["content"][0]["image_url"]["url"] == url
    assert said[2]["content"] == [{"type": "text", "text": "and how big?"}]
    assert [part["type"] for part in messages("?", (), ())[0]["content"]] == ["text"]


def test_the_score_is_the_mean_log_probability_of_the_tokens_said() -> None:
    answer = answer_of(OUTPUT, VllmOptions(), 100, 200)
    assert answer.answers == (("a dog", pytest.approx(math.sqrt(0.125))),)
    assert answer.boxes == ()


def test_boxes_are_read_and_json_counts_as_the_family_does() -> None:
    output = OUTPUT | {"generated_text": '{"bbox_2d": [10, 20, 30, 40], "label": "a"}'}
    assert answer_of(output, VllmOptions(), 100, 200).boxes == (Box("a", 0.05, 0.2, 0.15, 0.4),)
    assert json_extent(VllmOptions(), 100, 200) == (100, 200)
    assert json_extent(VllmOptions(relative_json=True), 100, 200) == (1000, 1000)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"__inference_error__": "CUDA\nerror"}, "vLLM: CUDA error"),
        ({"generated_text": "a", "generated_tokens": [5], "logprobs": None}, "vLLM told no log-probabilities"),
        ({"generated_text": "a", "generated_tokens": [5], "logprobs": [{6: {"logprob": 0.0}}]}, "of token 5"),
    ],
)
def test_what_the_engine_could_not_do_is_a_typed_row(output: dict[str, Any], told: str) -> None:
    with pytest.raises(RowError, match=told) as caught:
        answer_of(output, VllmOptions(), 1, 1)
    assert caught.value.code == ErrorCode.MODEL_ERROR


def test_a_hub_name_is_parted_from_its_revision(tmp_path: Any) -> None:
    assert model_source("org/name@v1") == ("org/name", {"revision": "v1"})
    assert model_source("org/name") == ("org/name", {})
    odd = tmp_path / "a@b"
    odd.mkdir()
    assert model_source(str(odd)) == (str(odd), {})
