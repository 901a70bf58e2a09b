"""The plan of a job on the cluster that it found."""

from __future__ import annotations

import logging

import pytest

from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.jobs.runtime.execute import plan_job
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
