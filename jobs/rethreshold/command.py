"""`vqa-ray tag --rethreshold RUN`: decide tags anew from the kept scores of a finished run; no model, no Ray."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.calibration.file import Calibration
from vqa_ray.errors import RequestError, RunError
from vqa_ray.jobs.rethreshold.spec import RethresholdSpec
from vqa_ray.jobs.runtime import admission, summary
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.recorded_taxonomy import recorded_taxonomy
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.report.dataset_card import data_files, dataset_card
from vqa_ray.runs import manifest
from vqa_ray.runs.completeness import unexpected_keys
from vqa_ray.runs.counts import count_rows, keys_of_parts
from vqa_ray.runs.directory import CARD, FOR_DATASETS, RunDirectory, require_directory
from vqa_ray.runs.part_files import read_columns, read_schema
from vqa_ray.runs.record import RunRecord
from vqa_ray.stages.rethreshold import KEPT_SCORES, Rethreshold, changed_tags
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.canonical import canonical_uri, is_same_place, path_below
from vqa_ray.storage.uri import join, name_of
from vqa_ray.taxonomy.attribute import Attribute
from vqa_ray.taxonomy.file import load_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy

logger = logging.getLogger(__name__)


def run(spec: RethresholdSpec) -> RunResult:
    """Write a run with the rows of another one, and tags by other thresholds.

    Raises:
        RequestError: the run cannot be used so, or the output holds something else.
        RunError: the rows of the run changed meanwhile.
    """
    parent, finished = _parent(spec)
    taxonomy, decides = _taxonomy(spec, parent)
    parts = [entry.uri for entry in RunDirectory(spec.rethreshold).part_files()]
    where = spec.tags or f"the taxonomy of {spec.rethreshold}"
    try:
        retag = Rethreshold(taxonomy, read_schema(parts[0]))
    except RequestError as error:
        raise RequestError(f"--rethreshold {spec.rethreshold}: {error}") from error
    # A run has the scores of the same choices in all of its rows.
    any(retag.check(read_columns(uri, ("status", KEPT_SCORES)), where) for uri in parts)
    record = _record(spec, parent, finished, decides)
    directory = RunDirectory(spec.output)
    if admission.existing_record(directory, record) is not None and (done := manifest.read(directory.manifest)):
        logger.info("%s: this run has finished already (%s)", spec.output, done["timing"]["finished"])
        return summary.log_summary(done, spec.output, 1.0)
    with output_lock(spec.output, record.started, wait=spec.wait) as lock, store_failures_fail_the_run():
        record, _ = admission.claim_output(directory, record, {})
        started, begun = admission.now(), time.monotonic()
        file_schema = _file_schema(record, retag.schema)
        changed = 0
        for uri in parts:
            lock.check()
            before = read_columns(uri)
            after = retag(before)
            changed += changed_tags(before, after)
            write_table_atomic(join(spec.output, name_of(uri)), after.cast(file_schema))
        counts = count_rows(entry.uri for entry in directory.part_files())
        if found := unexpected_keys(counts.keys, keys_of_parts(parts)[:, 0]):
            raise RunError(f"--rethreshold {spec.rethreshold}: {found[0]}; it has changed meanwhile")
        timing = manifest.Timing(started, admission.now(), time.monotonic() - begun, counts.rows, {}, 0)
        content = manifest.build(record, counts, timing, found)
        content["parent"] = {"output": spec.rethreshold, "run_id": parent.run_id, "finished": finished}
        lock.check()
        write_bytes_atomic(join(spec.output, CARD), dataset_card(content, retag.schema).encode())
        write_bytes_atomic(join(spec.output, FOR_DATASETS), data_files().encode())
        manifest.write(directory.manifest, content)
    logger.info("%s: %d of %d images have other tags than in %s", spec.output, changed, counts.ok, spec.rethreshold)
    return summary.log_summary(content, spec.output, 1.0)


def _parent(spec: RethresholdSpec) -> tuple[RunRecord, str]:
    """Read the record of the run whose scores decide, and when it finished."""
    origin = f"--rethreshold {spec.rethreshold}"
    require_directory(origin, spec.rethreshold, "a run directory of `vqa-ray tag`")
    directory = RunDirectory(spec.rethreshold)
    record, done = RunRecord.read(directory.record), manifest.read(directory.manifest)
    if record is None or record.job != "tag":
        raise RequestError(f"{origin}: expected a run directory of `vqa-ray tag`")
    if done is None or done["findings"]:
        raise RequestError(f"{origin}: the run has not finished; finish it with the command that began it")
    if "second_opinion" in done:
        raise RequestError(f"{origin}: two models decided its tags, and thresholds fit the scores of one; tag anew")
    if is_same_place(spec.output, spec.rethreshold) or path_below(spec.output, spec.rethreshold):
        raise RequestError(f"--output {spec.output}: lies in the run whose scores decide; use another directory")
    if spec.tags is None and spec.calibration is None:
        raise RequestError("--rethreshold: nothing else is given; expected --tags, --calibration or both")
    return record, done["timing"]["finished"]


def _taxonomy(spec: RethresholdSpec, parent: RunRecord) -> tuple[Taxonomy, dict[str, str | None]]:
    """Load the taxonomy that decides, and its entries in the record."""
    if spec.tags is None:
        taxonomy, tags = recorded_taxonomy(parent, "--rethreshold"), parent.command.get("tags")
    else:
        taxonomy, tags = load_taxonomy(spec.tags, parent.command.get("encoding")), spec.tags
        _check_questions(spec, taxonomy, parent)
    decides = {"tags": tags, "tags_fingerprint": taxonomy.fingerprint, "calibration": spec.calibration}
    if spec.calibration is not None:
        calibration = Calibration.read(spec.calibration)
        calibration.check_model(parent.model["reference"], parent.model["fingerprint"], spec.calibration)
        taxonomy = taxonomy.calibrated({tag: fit.threshold for tag, fit in calibration.tags.items()})
        decides["calibration_fingerprint"] = calibration.digest
    return taxonomy, decides


def _check_questions(spec: RethresholdSpec, taxonomy: Taxonomy, parent: RunRecord) -> None:
    """Refuse attributes whose scores answer another question; a taxonomy that has changed since cannot be compared."""
    try:
        earlier = recorded_taxonomy(parent, "--rethreshold")
    except RequestError:
        logger.warning(
            "--tags %s: the taxonomy of %s is no longer as it was, so questions and phrases cannot be compared; the "
            "kept scores are those of its questions",
            spec.tags,
            spec.rethreshold,
        )
        return
    for attribute in taxonomy.attributes:
        for was in earlier.attributes:
            if was.name == attribute.name and (text := _other_question(was, attribute)):
                raise RequestError(
                    f"--tags {spec.tags}: attribute {attribute.name!r}: {text}; its scores belong to another question, "
                    "run `vqa-ray tag` for it"
                )


def _other_question(was: Attribute, now: Attribute) -> str:
    if was.model != now.model:
        return f"model {was.model} → {now.model}"
    if (was.question, was.mode) != (now.question, now.mode):
        return f"{was.question!r} ({was.mode}) → {now.question!r} ({now.mode})"
    shared = [choice for choice in now.choices if choice in was.choices and now.choices[choice] != was.choices[choice]]
    return f"choice {shared[0]!r}: {was.choices[shared[0]]!r} → {now.choices[shared[0]]!r}" if shared else ""


def _record(spec: RethresholdSpec, parent: RunRecord, finished: str, decides: Mapping[str, str | None]) -> RunRecord:
    # A retry of the failed rows changes when the run finished, and so what this command gives.
    source = {
        "rethreshold": canonical_uri(spec.rethreshold),
        "rethreshold_finished": f"{parent.run_id}, {finished}",
    }
    return RunRecord(
        run_id=uuid.uuid4().hex[:12],
        job="tag",
        started=admission.now(),
        command={**source, "keep": parent.command.get("keep", []), **decides},
        model=parent.model,
        input=parent.input,
        versions=admission.versions(),
    )


def _file_schema(record: RunRecord, columns: pa.Schema) -> pa.Schema:
    metadata = {"version": record.versions["vqa_ray"], "job": record.job, "run_id": record.run_id}
    return schema.with_metadata(columns, {**metadata, "spec_hash": record.spec_hash, "model": dict(record.model)})
