"""`vqa-ray finetune`: train ViLT on questions and answers of one's own, or CLIP on captions."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run

if TYPE_CHECKING:
    from vqa_ray.jobs.finetune.request import TrainingRequest
    from vqa_ray.jobs.runtime.cluster.connect import Cluster
    from vqa_ray.runs.claims import Fence
    from vqa_ray.runs.record import RunRecord

logger = logging.getLogger(__name__)


def run(spec: FinetuneSpec) -> RunResult:
    """Train, or go on with what was begun in the output.

    Raises:
        RequestError: what is asked cannot be done.
        RunError: it failed; the same command goes on from there.
    """
    from vqa_ray.jobs.finetune.publish import amend, push, tell
    from vqa_ray.jobs.finetune.request import as_begun, open_request
    from vqa_ray.jobs.runtime import admission as guard
    from vqa_ray.jobs.runtime.cluster.connect import connect_ray
    from vqa_ray.jobs.runtime.recorded_input import log_drift
    from vqa_ray.readers.changes.reconcile import check_unchanged
    from vqa_ray.runs import manifest
    from vqa_ray.runs.directory import RunDirectory

    spec = as_begun(spec)
    request = open_request(spec)
    spec = request.spec
    layout = RunDirectory(spec.output)
    guard.existing_record(layout, request.record)
    started = request.record.started
    with output_lock(layout.output, started, wait=spec.wait) as lock, store_failures_fail_the_run():
        record, _ = guard.claim_output(layout, request.record, request.listings(layout))
        finished = manifest.read(layout.manifest)
        if finished is not None:
            logger.info("%s: this training has finished already (%s)", spec.output, finished["timing"]["finished"])
            amend(spec)
            result = tell(finished, spec)
            push(spec)
            return result
        for source in request.listings(layout).values():
            log_drift(source, trains=True)
            # Its rows are read again in every epoch.
            check_unchanged(source)
        for note in request.notes:
            logger.warning("%s", note)
        with connect_ray(spec.address) as cluster:
            content = execute(request, record, cluster, lock.fence)
        result = tell(content, spec)
        push(spec)
    return result


def execute(request: TrainingRequest, record: RunRecord, cluster: Cluster, fence: Fence) -> dict[str, Any]:
    """Gather, train, judge, publish; gives the manifest."""
    from vqa_ray.jobs.finetune.evaluate import evaluate
    from vqa_ray.jobs.finetune.prepare import prepare_training_data
    from vqa_ray.jobs.finetune.publish import conclude, publish, training_summary
    from vqa_ray.jobs.finetune.resources import image_config, place
    from vqa_ray.jobs.finetune.train import train, training_paths
    from vqa_ray.jobs.runtime.admission import now

    spec = request.spec
    started, begun = now(), time.monotonic()
    placement = place(request, cluster)
    images = image_config(request, record)
    logger.info("reading the rows to train on")
    prepared = prepare_training_data(request, placement)
    for note in prepared.notes:
        logger.warning("%s", note)
    if prepared.learnt:
        logger.info("%s", prepared.learnt)
    logger.info(
        "%s; %d rows to train on in %d steps an epoch, %d to validate on",
        f"{prepared.answers} answers" if prepared.vocabulary is not None else "captions",
        len(prepared.plan),
        prepared.plan.steps_per_epoch,
        len(prepared.validation),
    )
    train(request, prepared, record, images, placement)
    where = training_paths(spec, prepared)
    judged = evaluate(request, prepared, where, images, cluster)
    timing = {"started": started, "finished": now(), "duration_s": time.monotonic() - begun}
    told = training_summary(request, prepared, record, judged, timing)
    fence.check()
    publish(told, spec, where.adapter or where.best, judged.answers, record.started)
    return conclude(request, prepared, record, told, timing)
