"""`vqa-ray finetune`: train ViLT on questions and answers of one's own, or CLIP on captions."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.spec.cli import command

if TYPE_CHECKING:
    from vqa_ray.jobs.finetune.request import Request
    from vqa_ray.jobs.runtime.cluster.connect import Cluster
    from vqa_ray.runs.claims import Fence
    from vqa_ray.runs.record import RunRecord

logger = logging.getLogger(__name__)


def run(spec: FinetuneSpec) -> int:
    """Train, or go on with what was begun in the output; gives the exit code.

    Raises:
        RequestError: what is asked cannot be done.
        RunError: it failed; the same command goes on from there.
    """
    from vqa_ray.jobs.finetune.publish import amend, push, tell
    from vqa_ray.jobs.finetune.request import as_begun, open_request
    from vqa_ray.jobs.runtime import admission as guard
    from vqa_ray.jobs.runtime import logs
    from vqa_ray.jobs.runtime.cluster.connect import session
    from vqa_ray.jobs.runtime.recorded_input import tell_drift
    from vqa_ray.readers.changes.reconcile import check_unchanged
    from vqa_ray.runs import manifest
    from vqa_ray.runs.directory import RunLayout
    from vqa_ray.runs.lock import OutputLock

    logs.configure(spec.quiet, spec.log_format)
    spec = as_begun(spec)
    request = open_request(spec)
    spec = request.spec
    layout = RunLayout(spec.output)
    guard.existing_record(layout, request.record)
    with OutputLock(layout.output, request.record.started, wait=spec.wait) as lock:
        record, _ = guard.admit(layout, request.record, request.listings(layout))
        finished = manifest.read(layout.manifest)
        if finished is not None:
            logger.info("%s: this training has finished already (%s)", spec.output, finished["timing"]["finished"])
            amend(spec)
            code = tell(finished, spec)
            push(spec)
            return code
        for source in request.listings(layout).values():
            tell_drift(source, trains=True)
            # Its rows are read again in every epoch.
            check_unchanged(source)
        for note in request.notes:
            logger.warning("%s", note)
        with session(spec.address) as cluster:
            content = execute(request, record, cluster, lock.fence)
        code = tell(content, spec)
        push(spec)
    return code


def execute(request: Request, record: RunRecord, cluster: Cluster, fence: Fence) -> dict[str, Any]:
    """Gather, train, judge, publish; gives the manifest."""
    from vqa_ray.jobs.finetune.evaluate import judge
    from vqa_ray.jobs.finetune.prepare import gather
    from vqa_ray.jobs.finetune.publish import conclude, publish, told_of
    from vqa_ray.jobs.finetune.resources import image_config, place
    from vqa_ray.jobs.finetune.train import places, train
    from vqa_ray.jobs.runtime.admission import now

    spec = request.spec
    started, begun = now(), time.monotonic()
    placement = place(request, cluster)
    images = image_config(request, record)
    logger.info("reading the rows to train on")
    lesson = gather(request, placement)
    for note in lesson.notes:
        logger.warning("%s", note)
    if lesson.learnt:
        logger.info("%s", lesson.learnt)
    logger.info(
        "%s; %d rows to train on in %d steps an epoch, %d to validate on",
        f"{lesson.answers} answers" if lesson.vocabulary is not None else "captions",
        len(lesson.plan),
        lesson.plan.steps_per_epoch,
        len(lesson.validation),
    )
    train(request, lesson, record, images, placement)
    where = places(spec, lesson)
    judged = judge(request, lesson, where, images, cluster)
    timing = {"started": started, "finished": now(), "duration_s": time.monotonic() - begun}
    told = told_of(request, lesson, record, judged, timing)
    fence.check()
    publish(told, spec, where.adapter or where.best, judged.answers, record.started)
    return conclude(request, lesson, record, told, timing)


finetune = command(FinetuneSpec, run, retries=False)

if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["finetune", *sys.argv[1:]]))
