"""`vqa-ray finetune`: train ViLT on answers, CLIP on captions, or a chat model on conversations, of one's own."""

from __future__ import annotations

import logging
import time
from typing import Any

from vqa_ray.jobs.finetune.evaluate import evaluate
from vqa_ray.jobs.finetune.prepare import check_rendering, preparation_notes, prepare_training_data
from vqa_ray.jobs.finetune.publish import amend, conclude, log_result, publish, push
from vqa_ray.jobs.finetune.request import TrainingRequest, as_begun, open_request
from vqa_ray.jobs.finetune.resources import image_config, training_resource_plan
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.finetune.summary import training_summary
from vqa_ray.jobs.finetune.train import train
from vqa_ray.jobs.runtime.admission import claim_output, existing_record, now
from vqa_ray.jobs.runtime.cluster.connect import Cluster, connect_ray
from vqa_ray.jobs.runtime.logs import of_run
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.recorded_input import log_drift
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.readers.changes.reconcile import check_unchanged
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import Fence
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.training.data.prepared import vocabulary_note

logger = logging.getLogger(__name__)


def run(spec: FinetuneSpec) -> RunResult:
    """Train, or go on with the training that the output holds.

    Raises:
        RequestError: the request cannot be met.
        RunError: it failed; the same command goes on from there.
    """

    spec = as_begun(spec)
    request = open_request(spec)
    spec = request.spec
    check_rendering(request)
    layout = RunDirectory(spec.output)
    run_id = (existing_record(layout, request.record) or request.record).run_id
    lock_output = output_lock(layout.output, request.record.started, wait=spec.wait)
    with of_run(run_id), lock_output as lock, store_failures_fail_the_run():
        record, _ = claim_output(layout, request.record, request.listings(layout))
        finished = manifest.read(layout.manifest)
        if finished is not None:
            logger.info("%s: this training has finished already (%s)", spec.output, finished["timing"]["finished"])
            amend(spec)
            result = log_result(finished, spec)
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
        result = log_result(content, spec)
        push(spec)
    return result


def execute(request: TrainingRequest, record: RunRecord, cluster: Cluster, fence: Fence) -> dict[str, Any]:
    """Prepare, train, evaluate and publish.

    Returns:
        The manifest.
    """
    spec, paths = request.spec, request.paths
    started, begun = now(), time.monotonic()
    plan = training_resource_plan(request, cluster)
    images = image_config(request, record)
    logger.info("reading the rows to train on")
    prepared = prepare_training_data(request, plan)
    notes = preparation_notes(request, prepared)
    for note in notes:
        logger.warning("%s", note)
    learnt = vocabulary_note(prepared, request.data)
    if learnt:
        logger.info("%s", learnt)
    logger.info(
        "%s; %d rows to train on in %d steps an epoch, %d to validate on",
        f"{prepared.answers} answers" if prepared.vocabulary else f"task {spec.task}",
        len(prepared.schedule),
        prepared.schedule.steps_per_epoch,
        len(prepared.validation),
    )
    train(request, prepared, images, plan)
    evaluation = evaluate(request, prepared, images, cluster)
    timing = {"started": started, "finished": now(), "duration_s": time.monotonic() - begun}
    notes = (learnt, *notes) if learnt else notes
    summary = training_summary(request, prepared, record, evaluation, timing=timing, notes=notes)
    fence.check()
    only_adapter = spec.lora and spec.lora_export == "adapter"
    beside = paths.adapter if not only_adapter else None
    model = paths.adapter if only_adapter and paths.adapter else paths.best
    publish(summary, spec, model, evaluation.rows, record.started, adapter=beside)
    return conclude(request, prepared, record, summary, timing)
