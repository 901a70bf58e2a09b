"""A model that batches requests itself is given the next batch beside this one, whatever the command."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines import inference
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import ResourceRequest, plan_resources
from vqa_ray.predicates.parser import parse
from vqa_ray.stages.caption import CaptionConfig
from vqa_ray.stages.retrieve import RetrieveConfig


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        (ModelOptions("any", engine="vllm"), 2),
        (ModelOptions("openai:any", endpoint=EndpointOptions("http://127.0.0.1:1/v1")), 2),
        (ModelOptions("any"), 1),
    ],
)
def test_an_engine_has_the_next_batch(model: ModelOptions, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(inference, "read_and_decode", lambda *args, **options: None)
    monkeypatch.setattr(inference, "shared_model", lambda options, resources: options)
    monkeypatch.setattr(
        inference, "map_on_actor_pool", lambda rows, stage, plan, calls=1, **options: given.append(calls)
    )
    images: Any = ImageConfig.__new__(ImageConfig)
    plan = plan_resources(4, 0, ResourceRequest())
    inference.caption((), images, CaptionConfig(model), plan, 1)
    inference.retrieve((), images, RetrieveConfig(model, parse('"a"')), plan, 1)
    assert given == [calls, calls]
