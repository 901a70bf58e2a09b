"""The limit of new tokens in a run's record: kept by its resumption, whatever later defaults are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vqa_ray.jobs.runtime.model import model_options, record_length, recorded_options
from vqa_ray.jobs.spec.images import AnswerSpec, CaptionSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.registry import FAMILIES
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.runs.record import RunRecord

GIVEN = {"input": "in", "output": "out", "model": "m"}


def model(name: str) -> Checkpoint:
    return Checkpoint("m", next(each for each in FAMILIES if each.name == name), ViltTransform())


def record() -> RunRecord:
    return RunRecord("r", "answer", "", {}, {"fingerprint": "0"}, {"fingerprint": "0"}, {})


@pytest.mark.parametrize(
    ("spec", "name", "recorded", "unrecorded"),
    [
        (AnswerSpec(**GIVEN), "llava", 256, 20),
        (CaptionSpec(**GIVEN), "llava", 256, 30),
        (CaptionSpec(**GIVEN), "blip-2", 256, 30),
        (AnswerSpec(**GIVEN), "blip-2", 20, 20),
        (AnswerSpec(**GIVEN, prompt_template="lavis"), "blip-2", 10, 10),
        (AnswerSpec(**GIVEN, max_new_tokens=40), "llava", 40, 40),
    ],
)
def test_a_resumed_run_keeps_its_limit(spec: Any, name: str, recorded: int, unrecorded: int) -> None:
    new = record_length(record(), spec, model(name))
    assert new.model["max_new_tokens"] == recorded
    assert recorded_options(spec, model(name), new).max_new_tokens == recorded
    # A run of before the limit was recorded, and one of a version with another default.
    assert recorded_options(spec, model(name), record()).max_new_tokens == unrecorded
    other = replace(new, model={**new.model, "max_new_tokens": 77})
    assert recorded_options(spec, model(name), other).max_new_tokens == (spec.max_new_tokens or 77)
    assert not new.differences(record()), "the limit must not make another run of it"


def test_models_of_a_closed_vocabulary_have_no_limit() -> None:
    spec = AnswerSpec(**GIVEN)
    assert record_length(record(), spec, model("vilt")) == record()
    assert recorded_options(spec, model("vilt"), record()) == model_options(spec, model("vilt"))
