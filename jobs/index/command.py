"""`vqa-ray index`: embed images, and keep an index of them up to date."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.spec.base import Retry
from vqa_ray.jobs.spec.options import command

if TYPE_CHECKING:
    from ray.data import Dataset

    from vqa_ray.jobs.runtime.job import Attempt
    from vqa_ray.pipelines.resources import ResourcePlan


def run(spec: IndexSpec, retry: Retry | None) -> int:
    """Bring the index of `spec` up to date, then embed its failed rows again if asked; gives the exit code."""
    from vqa_ray.jobs.index.open import prepare
    from vqa_ray.jobs.index.retry import retry_failed
    from vqa_ray.jobs.index.update import update_index
    from vqa_ray.jobs.runtime import logs
    from vqa_ray.runs.lock import OutputLock

    logs.configure(spec.quiet, spec.log_format)
    task = prepare(spec, build)
    with OutputLock(task.layout.uri, task.record.started, wait=spec.wait) as lock:
        code = update_index(task, lock)
        return code if retry is None or code == 1 else retry_failed(task, lock, retry)


def build(spec: IndexSpec, work: Attempt, placement: ResourcePlan) -> Dataset:
    """The pipeline of a spec, lazily."""
    from vqa_ray.jobs.runtime.job import image_config
    from vqa_ray.jobs.runtime.model import model_options
    from vqa_ray.pipelines.inference import embed
    from vqa_ray.stages.embed import EmbedConfig

    config = EmbedConfig(model_options(spec), spec.thumbnails)
    return embed(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


index = command(IndexSpec, run)

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["index", *sys.argv[1:]]))
