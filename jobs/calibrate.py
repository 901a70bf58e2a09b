"""`vqa-ray calibrate`: fit thresholds and probabilities to the scores of a finished run and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import typer

from vqa_ray.calibration.evaluated import evaluated_labels
from vqa_ray.calibration.file import Calibration
from vqa_ray.calibration.samples import Labels, Sample, question_samples, tag_samples
from vqa_ray.errors import RequestError
from vqa_ray.evaluation.calibration import Aim, CalibrationFit, Method, Target, fit
from vqa_ray.jobs.runtime.output_file import check_file
from vqa_ray.jobs.runtime.recorded_taxonomy import recorded_taxonomy
from vqa_ray.jobs.spec.tools import CalibrateSpec
from vqa_ray.predicates.predicate import Question
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord
from vqa_ray.text_encoding import check_encoding

_AIMS: tuple[Aim, ...] = ("precision", "recall")


def run(spec: CalibrateSpec) -> None:
    """Fit a calibration, write it, and print what precision and recall to expect."""
    check_file("--output", spec.output)
    check_encoding(spec.encoding)
    target = parse_target(spec.target)
    run_uri, labels = _given(spec)
    directory = RunDirectory(run_uri)
    record = RunRecord.read(directory.record)
    if record is None or manifest.read(directory.manifest) is None or record.job not in ("retrieve", "tag"):
        raise RequestError(f"--run {run_uri}: expected a finished run of retrieve or tag")
    parts = [entry.uri for entry in directory.part_files()]
    if record.job == "retrieve":
        by_question = question_samples(parts, labels)
        samples = {_name(question): sample for question, sample in by_question.items()}
        first = read_columns(parts[0], ["scores"]).to_pylist() if parts else []
        asked = (each["question"] for row in first for each in row["scores"] or ())
        wanted = "the texts of its questions", list(dict.fromkeys(asked))
    else:
        by_question = {}
        taxonomy = recorded_taxonomy(record, "--run")
        samples = tag_samples(parts, taxonomy, labels)
        wanted = "the names of its attributes", [attribute.name for attribute in taxonomy.attributes]
    option, notes = "--evaluation" if spec.evaluation else "--labels", labels.notes()
    if not samples:
        raise RequestError(f"{option} {labels.where}: {'; '.join([*notes, _no_label(labels, *wanted)])}")
    fits, left_out = _fits(samples, target, spec.method)
    if not fits:
        raise RequestError("; ".join(left_out + notes))
    questions = {question: fits[_name(question)] for question in by_question if _name(question) in fits}
    model = record.model["reference"], record.model["fingerprint"]
    Calibration(*model, questions=questions, tags={} if questions else fits).write(spec.output)
    for note in notes:
        typer.echo(f"{option} {labels.where}: {note}", err=True)
    for reason in left_out:
        typer.echo(f"not calibrated: {reason}", err=True)
    for line in table(fits):
        typer.echo(line)
    rest = f", {len(left_out)} left out" if left_out else ""
    typer.echo(f"{len(fits)} calibrated for {target}{rest} → {spec.output}")


def _given(spec: CalibrateSpec) -> tuple[str, Labels]:
    """Return the run and its labels.

    Raises:
        RequestError: they are given twice, or not at all; the method needs a package that is not installed.
    """
    if spec.method == "temperature" and find_spec("scipy") is None:
        raise RequestError("--method temperature: needs SciPy, which is not installed: pip install 'vqa-ray[evaluate]'")
    if spec.evaluation is not None:
        if spec.run is not None or spec.labels is not None:
            raise RequestError("--evaluation: names the run and holds the labels; expected without --run and --labels")
        return evaluated_labels(spec.evaluation)
    if spec.run is None or spec.labels is None:
        lacking = "--run" if spec.run is None else "--labels"
        raise RequestError(f"{lacking}: is missing; expected --run with --labels, or --evaluation")
    require_directory(f"--run {spec.run}", spec.run, "a finished run of retrieve or tag")
    return spec.run, Labels.read(spec.labels, spec.encoding)


def parse_target(text: str) -> Target:
    """Parse `f1`, `precision=0.9` or `recall=0.9`.

    Raises:
        RequestError: it is something else.
    """
    aim, _, least = text.partition("=")
    if text == "f1":
        return Target("f1")
    try:
        value = float(least)
    except ValueError:
        value = -1.0
    for known in _AIMS:
        if aim == known and 0 < value <= 1:
            return Target(known, value)
    raise RequestError(f"--target {text}: wanted f1, precision=0..1 or recall=0..1")


def table(fits: Mapping[str, CalibrationFit]) -> list[str]:
    """Write a line for each fit, with 95 % intervals."""
    width = max(map(len, fits))
    lines = [f"{'':{width}}  threshold  precision (95 %)        recall (95 %)           F1     right of rows"]
    for name, each in fits.items():
        ratios = (f"{m.value:.3f} ({m.low:.3f}-{m.high:.3f})" for m in (each.precision, each.recall))
        lines.append(
            f"{name:{width}}  {each.threshold:9.3f}  {'     '.join(ratios)}     {each.f1:.3f}  "
            f"{each.positives:,} of {each.rows:,}"
        )
    return lines


def _fits(samples: Mapping[str, Sample], target: Target, method: Method) -> tuple[dict[str, CalibrationFit], list[str]]:
    """Fit each sample; return the fits, and the reasons of the samples that cannot be fitted."""
    fits, left_out = {}, []
    for name, sample in samples.items():
        try:
            fits[name] = fit(sample.scores, sample.labels, target, method)
        except ValueError as error:
            left_out.append(f"{name}: {error}")
    return fits, left_out


def _no_label(labels: Labels, kind: str, wanted: Sequence[str]) -> str:
    """Say why no label is for the run: other images, empty cells, or columns of other names."""
    if set(labels.names).intersection(wanted):
        reason = "the cells of its images are empty" if labels.matches else "no image_id is one of the run"
        return f"no label is for this run: {reason}"
    columns = f"the columns are {', '.join(map(repr, labels.names))}" if labels.names else "it has no other columns"
    return f"no label is for this run; beside image_id {columns}; wanted are {kind}: {', '.join(map(repr, wanted))}"


def _name(question: Question) -> str:
    return f'"{question.text}"' + (f' = "{question.answer}"' if question.answer else "")
