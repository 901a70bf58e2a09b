"""`vqa-ray evaluate`: judge a run by the truth; with a model, answer the input first."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vqa_ray import __version__
from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.evaluate.evaluation_request import (
    EvaluationRequest,
    check_protocol,
    earlier_request,
    input_columns,
    open_request,
)
from vqa_ray.jobs.evaluate.executor import executor
from vqa_ray.jobs.evaluate.notes import notes_on
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.jobs.evaluate.terminal import print_record
from vqa_ray.jobs.runtime.admission import now
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.findings import Findings
from vqa_ray.judging.join_key import key_name
from vqa_ray.judging.measure import measure
from vqa_ray.judging.measured_rows import MeasuredRows
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.rows import read_judged
from vqa_ray.judging.run_table import RunTable
from vqa_ray.judging.score_reliability import COLUMNS, odd_scores, score_reliability
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete, delete_directory
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.uri import uri_without_secrets

logger = logging.getLogger(__name__)

_COUNTED = ("judged", "unparsed", "failed", "missing", "no_truth", "bad_truth")
_FOUND = ("duplicate_truth", "duplicate_predictions", "superseded")


def run(spec: EvaluateSpec) -> RunResult | None:
    """Evaluate, or go on with it, and print the measures.

    Raises:
        RequestError: the sides or the protocol do not fit, or the output holds something else.
        RunError: a step failed; the same command goes on from there.
    """
    directory = EvaluationDirectory(spec.output)
    earlier = earlier_request(directory)
    if earlier is None:
        foreign = directory.foreign_files(answered=spec.model is not None)
        refuse_foreign_files(f"--output {spec.output}", foreign, "an evaluation")
        refuse_inside_output("--output", spec.output)
    result = None
    predictions, truth = spec.predictions, spec.truth
    if predictions is None:
        check_protocol(spec)
        result = _answer(spec)
        predictions, truth = directory.run, truth or spec.input
    request = open_request(spec, predictions, truth)
    record = _finished(request, directory)
    if record is None:
        with output_lock(spec.output, now(), wait=spec.wait) as lock, store_failures_fail_the_run():
            # Another process may have finished it meanwhile.
            record = _finished(request, directory)
            if record is None:
                record = _evaluated(request, spec, directory)
                lock.check()
                record.write(spec.output)
            delete_directory(directory.work)
    else:
        logger.info("%s: this evaluation has finished already", spec.output)
    print_record(record, spec)
    return result


def _answer(spec: EvaluateSpec) -> RunResult:
    """Run `vqa-ray answer` with the options that it shares with this command."""
    kind = imported(COMMANDS["answer"].spec)
    shared = {name: getattr(spec, name) for name in kind.model_fields if name in type(spec).model_fields}
    own = {"output": EvaluationDirectory(spec.output).run, "columns": input_columns(spec)}
    result: RunResult = imported(COMMANDS["answer"].module).run(kind(**{**shared, **own}))
    return result


def _finished(request: EvaluationRequest, directory: EvaluationDirectory) -> EvaluationRecord | None:
    """Return the record of the same evaluation; None where it is not finished, or an input has changed.

    Raises:
        RequestError: the output holds another evaluation.
    """
    earlier = earlier_request(directory)
    if earlier is None:
        return None
    content = earlier["request"]
    changes = [
        f"{name}: {content.get(name)} → {value}"
        for name, value in request.content.items()
        if content.get(name) != value
    ]
    if changes:
        raise RequestError(
            f"--output {directory.output}: holds another evaluation: {'; '.join(changes)}; use another --output, or "
            "the command it was made with"
        )
    return EvaluationRecord.read(directory.output) if earlier["inputs"] == dict(request.inputs) else None


def _claim(request: EvaluationRequest, directory: EvaluationDirectory) -> None:
    """Write the request; forget what was made from inputs that have changed since."""
    earlier = earlier_request(directory)
    if earlier is not None and earlier["inputs"] != dict(request.inputs):
        logger.warning("%s: the inputs have changed since; they are evaluated anew", directory.output)
    if earlier is not None and (earlier["inputs"], earlier.get("steps")) != (dict(request.inputs), request.steps):
        _forget(directory)
    write_bytes_atomic(directory.request, request.to_json())


def _forget(directory: EvaluationDirectory) -> None:
    for file in (directory.record, directory.measures, directory.request):
        delete(file)
    for place in (directory.work, directory.rows):
        delete_directory(place)


def _evaluated(request: EvaluationRequest, spec: EvaluateSpec, directory: EvaluationDirectory) -> EvaluationRecord:
    """Evaluate; what is refused leaves the output free for another request."""
    _claim(request, directory)
    try:
        return _evaluate(request, spec)
    except RequestError:
        _forget(directory)
        raise


def _evaluate(request: EvaluationRequest, spec: EvaluateSpec) -> EvaluationRecord:
    work, found = request.work, Findings()
    rows = max(work.predictions.rows, 0 if work.truth is None else work.truth.rows)
    logger.info("joining by %s", key_name(work.key))
    with executor(rows, spec.address) as steps:
        for _ in steps(work, "divide", work.divisions):
            pass
        work = work.fitted()
        for each in steps(work, "judge", range(work.partitions)):
            found.add(each)
    _check_matched(request, spec, found)
    return _record(request, spec, found)


def _check_matched(request: EvaluationRequest, spec: EvaluateSpec, found: Findings) -> None:
    """Refuse sides of which no rows belong together, or whose truth cannot be used at all."""
    counts, examples, work = found.counts, found.examples, request.work
    if work.truth is not None and not counts["joined"] and counts["no_truth"]:
        alike = "; they differ in leading zeros, case, blanks or .0 only" if counts["similar_ids"] else ""
        raise RequestError(
            f"--truth {work.truth.uri}: no row has the {key_name(work.key)} of a prediction: truth "
            f"{_quoted(examples['missing'])}; predictions {_quoted(examples['no_truth'])}{alike}; name another column "
            "with --key"
        )
    if spec.key is not None and counts["duplicate_truth"] > sum(counts[name] for name in (*_COUNTED[:4], "bad_truth")):
        raise RequestError(
            f"--key {spec.key}: most rows of the truth repeat an id ({_quoted(examples['duplicate_truth'])}); name a "
            "column that differs from row to row"
        )
    asks = request.protocol.prediction == "text" and "question" in work.predictions.ids
    if asks and work.truth is not None and tuple(work.key) == ("image_id",) and counts["duplicate_predictions"]:
        raise RequestError(
            f"--truth {work.truth.uri}: has neither question_id nor question, and there are answers to several "
            f"questions about an image: {_quoted(examples['duplicate_predictions'])}"
        )
    if not sum(counts[name] for name in _COUNTED[:4]):
        shown = "; ".join(examples["bad_truth"]) or "the truth has no rows"
        raise RequestError(f"--truth: no row can be judged: {shown}")


def _record(request: EvaluationRequest, spec: EvaluateSpec, found: Findings) -> EvaluationRecord:
    work, protocol, side = request.work, request.protocol, request.predictions
    rows = MeasuredRows.of(read_judged(spec.output), protocol.groups, request.by)
    logger.info("measuring %s rows", f"{len(rows.rows):,}")
    measures = measure(protocol, rows)
    counts = found.counts
    notes = [*notes_on(found, spec, request.truth), *measures.notes]
    if odd := odd_scores(read_judged(spec.output, COLUMNS)):
        notes.append(
            f"{counted(odd, 'row')} {'has' if odd == 1 else 'have'} a score that is no number from 0 to 1; calibration "
            "leaves them out"
        )
    truth = sum(counts[name] for name in (*_COUNTED[:4], "bad_truth"))
    predictions = counts["joined"] + counts["no_truth"]
    return EvaluationRecord(
        version=__version__,
        protocol=protocol.name,
        title=protocol.title,
        source=protocol.source,
        truth=None if work.truth is None else uri_without_secrets(work.truth.uri),
        predictions=uri_without_secrets(side.uri),
        job=side.job if isinstance(side, RunTable) else None,
        model=uri_without_secrets(side.model) if isinstance(side, RunTable) else None,
        key=key_name(work.key),
        by=request.by,
        rows={"truth": truth, "predictions": predictions, **{name: counts[name] for name in (*_COUNTED, *_FOUND)}},
        errors=dict(found.errors.most_common()),
        headline=protocol.headline,
        scale=protocol.scale,
        measures=measures.measures,
        interval=measures.interval,
        notes=notes,
        # The score of a caption is a likeness, of which nobody is sure to some degree.
        calibration=None
        if protocol.name == "caption"
        else score_reliability(read_judged(spec.output, COLUMNS), protocol.prediction),
    )


def _quoted(examples: Sequence[str]) -> str:
    return ", ".join(map(repr, examples)) or "none"
