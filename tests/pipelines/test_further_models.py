"""The models that a taxonomy names are asked by both stages of a run with two models, within its one budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ray.data import DataContext

from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines import inference, meter
from vqa_ray.pipelines.inference import SecondModel
from vqa_ray.pipelines.meter import SharedMeter
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import ResourceRequest, plan_resources
from vqa_ray.stages.tag import TagConfig
from vqa_ray.taxonomy.taxonomy import Taxonomy


def test_both_stages_ask_a_named_model_through_the_meter_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = EndpointOptions("http://127.0.0.1:1/v1", concurrency=8)
    colour = {"name": "colour", "question": "what colour?", "choices": ["red", "green"], "model": "openai:named"}
    named = {"openai:named": ModelOptions("openai:named", endpoint=endpoint)}
    config = TagConfig(
        ModelOptions("openai:own", endpoint=endpoint), Taxonomy.model_validate({"attributes": [colour]}), 1, named
    )
    images: Any = ImageConfig.__new__(ImageConfig)
    opinions: Any = None
    one = replace(plan_resources(4, 0, ResourceRequest()), row_timeout_s=600.0)
    plan = replace(one, max_actors=4, second=replace(one, max_actors=2))
    found: list[Any] = []
    monkeypatch.setattr(
        inference, "_rows_of_models", lambda *given, second, **_: found.extend([*given[3:5], second.config])
    )
    context = DataContext.get_current().copy()
    context.set_config(meter._CONFIG, meter._Metered([endpoint], "an actor"))
    with DataContext.current(context):
        inference.tag((), images, config, plan, 1, second=SecondModel(config, images, opinions))
    first, resources, second = found
    for each, concurrency in ((first, 2), (second, 4)):
        shared = each.further["openai:named"].endpoint
        assert shared.gate == SharedMeter("an actor", 0)
        assert shared.concurrency == concurrency
    assert resources.row_timeout_s == resources.second.row_timeout_s == 0
