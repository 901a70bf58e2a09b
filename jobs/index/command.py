"""`vqa-ray index`: embed images, and keep an index of them up to date."""

from __future__ import annotations

from vqa_ray.jobs.index.open import prepare
from vqa_ray.jobs.index.retry import retry_failed
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.index.update import update_index
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run


def run(spec: IndexSpec) -> RunResult:
    """Bring the index of a spec up to date, then embed its failed rows again if asked."""
    task = prepare(spec)
    output, started = task.layout.uri, task.record.started
    with output_lock(output, started, wait=spec.wait) as lock, store_failures_fail_the_run():
        result = update_index(task, lock)
        return result if spec.retry is None or result.integrity_errors else retry_failed(task, lock, spec.retry)
