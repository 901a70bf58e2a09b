"""`vqa-ray index`: embed images, and keep an index of them up to date."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.spec.base import Retry
from vqa_ray.jobs.spec.cli import command

if TYPE_CHECKING:
    from ray.data import Dataset

    from vqa_ray.jobs.runtime.job import Work
    from vqa_ray.pipelines.resources import Placement


def run(spec: IndexSpec, retry: Retry | None) -> int:
    """Bring the index of `spec` up to date, then embed its failed rows again if asked; gives the exit code."""
    from vqa_ray.jobs.index.open import prepare
    from vqa_ray.jobs.index.retry import retry_failed
    from vqa_ray.jobs.index.update import bring_up_to_date
    from vqa_ray.jobs.runtime import logs
    from vqa_ray.runs.lock import OutputLock

    logs.configure(spec.quiet, spec.log_format)
    task = prepare(spec, build)
    with OutputLock(task.layout.uri, task.record.started, wait=spec.wait) as lock:
        code = bring_up_to_date(task, lock)
        return code if retry is None or code == 1 else retry_failed(task, lock, retry)


def build(spec: IndexSpec, work: Work, placement: Placement) -> Dataset:
    """The pipeline of a spec, lazily."""
    from vqa_ray.jobs.runtime.job import image_config
    from vqa_ray.jobs.runtime.model import options_of
    from vqa_ray.pipelines.embed import EmbedConfig, embed

    config = EmbedConfig(options_of(spec), spec.thumbnails)
    return embed(work.tasks, image_config(spec, work), config, placement, work.layout.attempt)


index = command(IndexSpec, run)

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["index", *sys.argv[1:]]))
