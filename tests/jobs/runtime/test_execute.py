"""The plan of a job on the cluster that it found."""

from __future__ import annotations

import logging

import pytest

from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.jobs.runtime.pools import plan_job, plan_pools
from vqa_ray.jobs.spec.images import AnswerSpec

FULL = {"input": "in", "output": "out", "model": "fake:", "compile": True}


@pytest.mark.parametrize(
    ("more", "resources", "is_warned"),
    [
        ({}, {"CPU": 4.0}, True),
        ({"device": "cpu"}, {"CPU": 4.0, "GPU": 1.0}, True),
        ({}, {"CPU": 4.0, "GPU": 1.0}, False),
    ],
    ids=["no GPU", "CPU chosen", "GPU"],
)
def test_compiling_on_cpus_is_pointed_out(
    more: dict[str, object], resources: dict[str, float], is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "vqa_ray.jobs")
    plan_job(AnswerSpec.model_validate(FULL | more), Cluster(resources, None, "a cluster"))
    assert ("--compile: is for CUDA; the model runs on CPUs, not compiled" in caplog.text) == is_warned


@pytest.mark.parametrize(
    ("more", "rows", "expected"),
    [
        ({"model": "fake:"}, 200_000, 256),
        ({"model": "fake:"}, 100, 32),
        ({"model": "fake:"}, None, 32),
        ({"model": "fake:", "batch_size": 8}, 200_000, 8),
        ({"model": "bundled:catalog-vilt"}, 200_000, 32),
    ],
    ids=["large", "small", "unknown", "chosen", "with weights"],
)
def test_a_large_input_of_a_model_without_weights_goes_in_large_batches(
    more: dict[str, object], rows: int | None, expected: int
) -> None:
    spec = AnswerSpec.model_validate(FULL | more)
    assert plan_pools(spec, None, Cluster({"CPU": 4.0}, None, "a cluster"), rows).batch_size == expected
