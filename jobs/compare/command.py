"""`vqa-ray compare`: two or more evaluations, or runs, of which the first is compared with each of the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import typer

from vqa_ray import __version__
from vqa_ray.comparison.evaluations import EvaluationPairs
from vqa_ray.comparison.flipped import FlippedRows
from vqa_ray.comparison.pairing import Partitions
from vqa_ray.comparison.record import RECORD, ROWS, Comparison, Input, Pair
from vqa_ray.comparison.runs import RunPairs
from vqa_ray.errors import DriftError, RequestError
from vqa_ray.evaluation.bootstrap import RESAMPLES
from vqa_ray.jobs.compare.spec import CompareSpec
from vqa_ray.jobs.compare.table import comparison_lines, counted_rows
from vqa_ray.jobs.runtime.admission import now
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.judging.directory import REQUEST, EvaluationDirectory
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.run_table import open_run
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import PRIVATE, RunDirectory, require_directory
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.delete import delete, delete_directory
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.uri import join, name_of, redacted_uri, uri_without_secrets

logger = logging.getLogger(__name__)


def run(spec: CompareSpec) -> None:
    """Compare, write the comparison, and print it.

    Raises:
        RequestError: the inputs cannot be compared, or the output holds something else.
        DriftError: the runs drifted further than `--max-drift`.
    """
    if len(spec.inputs) < 2:
        raise RequestError(f"{spec.inputs[0]}: nothing to compare it with; expected two or more evaluations or runs")
    if find_spec("scipy") is None:
        raise RequestError("vqa-ray compare needs SciPy, which is not installed: pip install 'vqa-ray[evaluate]'")
    evaluations = [EvaluationRecord.read(uri) for uri in spec.inputs]
    records = [record for record in evaluations if record is not None]
    for uri, record in zip(spec.inputs, evaluations, strict=True):
        if record is None:
            _check_run(uri, beside_evaluations=bool(records))
    pairs = _evaluation_pairs(spec, records) if records else _run_pairs(spec)
    prepared = pairs.prepared()
    earlier, work = _earlier_files(spec), join(spec.output, PRIVATE, "work")
    with output_lock(spec.output, now(), wait=spec.wait) as lock, store_failures_fail_the_run():
        delete_directory(work)
        for uri in earlier:
            delete(uri)
        try:
            found, notes = pairs.compare(Partitions(prepared, work), FlippedRows(spec.output, pairs.by))
        finally:
            delete_directory(work)
        lock.check()
        comparison = _comparison(spec, pairs, found, notes)
        comparison.write(spec.output)
    for note in comparison.notes:
        typer.echo(note, err=True)
    for line in comparison_lines(comparison):
        typer.echo(line)
    differing = sum(pair.flipped for pair in comparison.pairs)
    logger.info("%s in which they differ → %s", counted_rows(differing), spec.output)
    _check_drift(comparison)


def _check_run(uri: str, *, beside_evaluations: bool) -> None:
    """Refuse what is no finished run, and runs among evaluations."""
    require_directory(uri, uri, "an evaluation (vqa-ray evaluate) or a finished run")
    directory = RunDirectory(uri)
    if RunRecord.read(directory.record) is None:
        begun = exists(EvaluationDirectory(uri).request)
        state = "the evaluation has not finished; finish it with the command that began it" if begun else ""
        raise RequestError(f"{uri}: {state or 'expected an evaluation (vqa-ray evaluate) or a finished run'}")
    if manifest.read(directory.manifest) is None:
        raise RequestError(f"{uri}: the run has not finished; finish it with the command that began it")
    if beside_evaluations:
        raise RequestError(f"{uri}: is a run, others are evaluations; expected inputs of one kind")


def _earlier_files(spec: CompareSpec) -> list[str]:
    """List the files of an earlier comparison of the same inputs in the output; refuse one that holds anything else."""
    output = spec.output
    refuse_inside_output("--output", output, {REQUEST: "an evaluation"})
    try:
        found = list_files(output) if exists(output) else []
    except NotADirectoryError as error:
        raise RequestError(f"--output {output}: a part of the path is a file, not a directory") from error
    ours = [entry.uri for entry in found if name_of(entry.uri) == RECORD or f"/{ROWS}/pair-" in entry.uri]
    refuse_foreign_files(f"--output {output}", [each.uri for each in found if each.uri not in ours], "a comparison")
    if any(name_of(uri) == RECORD for uri in ours):
        compared = [each.uri for each in Comparison.read(output).inputs]
        if compared != [uri_without_secrets(uri) for uri in spec.inputs]:
            raise RequestError(
                f"--output {output}: holds the comparison of {' and '.join(compared)}; wanted a new or empty directory"
            )
    return ours


def _evaluation_pairs(spec: CompareSpec, records: Sequence[EvaluationRecord]) -> EvaluationPairs:
    if spec.max_drift is not None:
        raise RequestError("--max-drift: goes with runs; evaluations state differences, which have intervals")
    return EvaluationPairs(spec.inputs, records, spec.by or list(records[0].by), spec.seed)


def _run_pairs(spec: CompareSpec) -> RunPairs:
    if spec.by:
        raise RequestError("--by: goes with evaluations; drift of runs is by attribute or question")
    tables = [table for table in map(open_run, spec.inputs) if table is not None]
    return RunPairs(tables, spec.seed, spec.max_drift)


def _comparison(
    spec: CompareSpec, pairs: EvaluationPairs | RunPairs, found: list[Pair], notes: list[str]
) -> Comparison:
    names, inputs = _names(spec.inputs), []
    of_evaluation: dict[str, Any] = {}
    if isinstance(pairs, EvaluationPairs):
        first = pairs.records[0]
        of_evaluation = {name: getattr(first, name) for name in ("protocol", "title", "headline")}
        of_evaluation["truth"] = first.truth or ""
        for name, uri, record in zip(names, spec.inputs, pairs.records, strict=True):
            rows, errors = record.rows.get("truth", 0), dict(record.errors)
            inputs.append(Input(name, uri_without_secrets(uri), record.model or "", rows, errors))
    else:
        for name, table in zip(names, pairs.tables, strict=True):
            errors = (manifest.read(RunDirectory(table.uri).manifest) or {}).get("errors", {})
            inputs.append(
                Input(name, uri_without_secrets(table.uri), uri_without_secrets(table.model), table.rows, errors)
            )
    return Comparison(
        kind="evaluations" if of_evaluation else "runs",
        version=__version__,
        job=pairs.job,
        inputs=inputs,
        pairs=found,
        key=pairs.key,
        by=list(pairs.by),
        seed=spec.seed,
        resamples=RESAMPLES,
        max_drift=spec.max_drift,
        notes=notes,
        **of_evaluation,
    )


def _names(uris: Sequence[str]) -> list[str]:
    names = [name_of(uri.rstrip("/")) for uri in uris]
    shown = [redacted_uri(uri) for uri in uris]
    whole = [uri_without_secrets(uri) for uri in uris]
    return next((each for each in (names, shown) if len(set(each)) == len(each)), whole)


def _check_drift(comparison: Comparison) -> None:
    drifted = [each for pair in comparison.pairs for each in pair.drift if each.exceeds]
    if not drifted:
        return
    worst = max(drifted, key=lambda each: each.value)
    more = f", and {len(drifted) - 1} more exceed it" if len(drifted) > 1 else ""
    raise DriftError(f"{worst.name}: drifted by {worst.value:.3f}; --max-drift is {comparison.max_drift:g}{more}")
