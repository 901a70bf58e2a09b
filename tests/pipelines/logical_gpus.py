"""The GPUs that Ray gave to model actors, of four logical ones, written to found.json; run by `test_logical_gpus`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from vqa_ray.jobs.cli import main
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.resources import ResourceRequest, plan_resources

# Rows for more batches than the actors that start first take in advance.
CPUS, GPUS, ROWS = 16, 4, 160


class Recorder:
    """A model that notes, for each row, its actor and the GPUs of the actor.

    Args:
        name: of the model.
        started: directory in which each actor of the model leaves a file.
        actors: that start before one of them is done with a row.
    """

    def __init__(self, name: str, started: Path, actors: int) -> None:
        self._name, self._started, self._actors = name, started / name, actors
        self._started.mkdir(parents=True, exist_ok=True)
        (self._started / str(os.getpid())).touch()

    def __call__(self, table: pa.Table) -> pa.Table:
        deadline = time.monotonic() + 60
        while len(list(self._started.iterdir())) < self._actors and time.monotonic() < deadline:
            time.sleep(0.05)
        gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        for column, value in (("actor", str(os.getpid())), ("gpus", ",".join(gpus)), ("visible", seen)):
            table = table.append_column(f"{self._name} {column}", pa.array([value] * table.num_rows))
        return table


def record(started: Path, names: Sequence[str], actors: int, **request: Any) -> list[dict[str, Any]]:
    """Rows that went through one pool of actors after another, each of its own model."""
    plan = plan_resources(CPUS, GPUS, ResourceRequest(batch_size=2, **request))
    with ray.data.DataContext.current(run_context(plan, None, 120.0)):
        plain = {"status": ["ok"], "error_code": pa.nulls(1, pa.string())}
        rows = ray.data.from_arrow([pa.table({"source_key": [key], **plain}) for key in range(ROWS)])
        for name in names:
            make: Callable[[], Recorder] = partial(Recorder, name, started, actors)
            rows = map_on_actor_pool(rows, make, plan)
        return list(rows.take_all())


if __name__ == "__main__":
    source, output = map(Path, sys.argv[1:])
    ray.init(address="local", num_cpus=CPUS, num_gpus=GPUS, include_dashboard=False, log_to_driver=False)
    found: dict[str, Any] = {
        "whole": record(output / "whole", ["model"], GPUS),
        "halves": record(output / "halves", ["model"], 2 * GPUS, gpus_per_actor=0.5),
        "two models": record(output / "two", ["first", "second"], 2, max_actors=2),
        "autoscaled": record(output / "autoscaled", ["model"], 1, min_actors=1, max_actors=3),
    }
    common = ["answer", "--input", str(source), "--model", "fake:", "--quiet"]
    for name, gpus, actors in (("fits", "0.5", "2-4"), ("lacks", "1", "5")):
        found[name] = main([*common, "--output", str(output / name), "--num-gpus", gpus, "--num-actors", actors])
    (output / "found.json").write_text(json.dumps(found))
