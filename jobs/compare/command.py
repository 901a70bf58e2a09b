"""`vqa-ray compare`: two or more evaluations, or runs, of which the first is compared with each of the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec

import typer

from vqa_ray import __version__
from vqa_ray.comparison.evaluations import EvaluationPairs
from vqa_ray.comparison.flipped import FlippedRows
from vqa_ray.comparison.pairing import Partitions
from vqa_ray.comparison.record import RECORD, ROWS, Comparison, Input
from vqa_ray.comparison.runs import RunPairs
from vqa_ray.errors import RequestError, TooManyErrors
from vqa_ray.evaluation.bootstrap import RESAMPLES
from vqa_ray.jobs.compare.spec import CompareSpec
from vqa_ray.jobs.compare.table import comparison_lines
from vqa_ray.jobs.runtime.store_failures import store_failures_fail_the_run
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.run_table import open_run
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import PRIVATE, RunDirectory, require_directory
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.delete import delete, delete_directory
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.uri import join, name_of, redacted_uri

logger = logging.getLogger(__name__)


def run(spec: CompareSpec) -> None:
    """Compare, write the comparison, and print it.

    Raises:
        RequestError: the inputs cannot be compared, or the output holds something else.
        TooManyErrors: the runs drifted further than `--max-drift`.
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
    _claim(spec.output)
    work = join(spec.output, PRIVATE)
    with store_failures_fail_the_run():
        try:
            comparison = _of_evaluations(spec, records, work) if records else _of_runs(spec, work)
        finally:
            delete_directory(work)
        comparison.write(spec.output)
    for note in comparison.notes:
        typer.echo(note, err=True)
    for line in comparison_lines(comparison):
        typer.echo(line)
    logger.info("%d rows that differ → %s", sum(pair.flipped for pair in comparison.pairs), spec.output)
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


def _claim(output: str) -> None:
    """Take a directory that is empty, or holds an earlier comparison, which is deleted."""
    refuse_inside_output("--output", output)
    try:
        found = list_files(output, hidden=True) if exists(output) else []
    except NotADirectoryError as error:
        raise RequestError(f"--output {output}: a part of the path is a file, not a directory") from error
    ours = [entry.uri for entry in found if name_of(entry.uri) == RECORD or f"/{ROWS}/pair-" in entry.uri]
    foreign = [entry.uri for entry in found if entry.uri not in ours and f"/{PRIVATE}/work/" not in entry.uri]
    refuse_foreign_files(f"--output {output}", foreign, "a comparison")
    delete_directory(join(output, PRIVATE))
    for uri in ours:
        delete(uri)


def _of_evaluations(spec: CompareSpec, records: Sequence[EvaluationRecord], work: str) -> Comparison:
    if spec.max_drift is not None:
        raise RequestError("--max-drift: goes with runs; evaluations state differences, which have intervals")
    first = records[0]
    by = spec.by or list(first.by)
    pairs = EvaluationPairs(spec.inputs, records, by, spec.seed)
    partitions = Partitions(pairs.prepared(), join(work, "work"))
    found, notes = pairs.compare(partitions, FlippedRows(spec.output, by))
    inputs = [
        Input(name, redacted_uri(uri), record.model or "", record.rows.get("truth", 0), dict(record.errors))
        for name, uri, record in zip(_names(spec.inputs), spec.inputs, records, strict=True)
    ]
    return Comparison(
        kind="evaluations",
        version=__version__,
        job=first.job or "",
        inputs=inputs,
        pairs=found,
        key=first.key,
        by=by,
        seed=spec.seed,
        resamples=RESAMPLES,
        protocol=first.protocol,
        title=first.title,
        headline=first.headline,
        truth=first.truth or "",
        notes=notes,
    )


def _of_runs(spec: CompareSpec, work: str) -> Comparison:
    if spec.by:
        raise RequestError("--by: goes with evaluations; drift of runs is by attribute or question")
    tables = [table for table in map(open_run, spec.inputs) if table is not None]
    pairs = RunPairs(tables, spec.seed, spec.max_drift)
    partitions = Partitions(pairs.prepared(), join(work, "work"))
    found, notes = pairs.compare(partitions, FlippedRows(spec.output))
    manifests = [manifest.read(RunDirectory(uri).manifest) or {} for uri in spec.inputs]
    inputs = [
        Input(name, redacted_uri(table.uri), redacted_uri(table.model), table.rows, content.get("errors", {}))
        for name, table, content in zip(_names(spec.inputs), tables, manifests, strict=True)
    ]
    return Comparison(
        kind="runs",
        version=__version__,
        job=pairs.job,
        inputs=inputs,
        pairs=found,
        key=pairs.key,
        by=[],
        seed=spec.seed,
        resamples=RESAMPLES,
        max_drift=spec.max_drift,
        notes=notes,
    )


def _names(uris: Sequence[str]) -> list[str]:
    names = [name_of(uri.rstrip("/")) for uri in uris]
    return names if len(set(names)) == len(names) else [redacted_uri(uri) for uri in uris]


def _check_drift(comparison: Comparison) -> None:
    drifted = [each for pair in comparison.pairs for each in pair.drift if each.exceeds]
    if not drifted:
        return
    worst = max(drifted, key=lambda each: each.value)
    chance = "" if worst.value > worst.noise else f", as it may by chance alone ({worst.noise:.3f})"
    more = f", and {len(drifted) - 1} more exceed it" if len(drifted) > 1 else ""
    raise TooManyErrors(
        f"{worst.name}: drifted by {worst.value:.3f}{chance}; --max-drift is {comparison.max_drift:g}{more}"
    )
