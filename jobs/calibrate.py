"""`vqa-ray calibrate`: from a finished run and labels to probabilities and thresholds that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from vqa_ray.errors import RequestError

if TYPE_CHECKING:
    from vqa_ray.calibration.samples import Sample
    from vqa_ray.evaluation.calibration import Aim, CalibrationFit, Target
    from vqa_ray.predicates.predicate import Question
    from vqa_ray.runs.record import RunRecord
    from vqa_ray.taxonomy.taxonomy import Taxonomy

_AIMS: tuple[Aim, ...] = ("precision", "recall")


def calibrate(
    *,
    run: Annotated[str, typer.Option(help="a finished run of retrieve (--ask-all) or tag")],
    labels: Annotated[
        str,
        typer.Option(help="Parquet, CSV, TSV, JSON Lines: image_id, and a column per question text or attribute name"),
    ],
    output: Annotated[str, typer.Option(help="the calibration file to write, for --calibration")],
    target: Annotated[str, typer.Option(help="f1, precision=0..1 or recall=0..1")] = "f1",
) -> None:
    """Fit thresholds and probabilities to a labelled sample, and tell what precision and recall to expect."""
    from vqa_ray.calibration.file import Calibration
    from vqa_ray.calibration.samples import Labels, question_samples, tag_samples
    from vqa_ray.runs import manifest
    from vqa_ray.runs.directory import RunDirectory
    from vqa_ray.runs.record import RunRecord

    wanted, layout, known = parse_target(target), RunDirectory(run), Labels.read(labels)
    record = RunRecord.read(layout.record)
    if record is None or manifest.read(layout.manifest) is None or record.job not in ("retrieve", "tag"):
        raise RequestError(f"--run {run}: wanted a finished run of retrieve or tag")
    parts = [entry.uri for entry in layout.part_files()]
    if record.job == "retrieve":
        questions = question_samples(parts, known)
        fits = {question: _fitted(_name(question), sample, wanted) for question, sample in questions.items()}
        found = Calibration(record.model["reference"], record.model["fingerprint"], questions=fits)
        told = {_name(question): fit for question, fit in fits.items()}
    else:
        tags = tag_samples(parts, taxonomy_of(record, "--run"), known)
        told = {tag: _fitted(tag, sample, wanted) for tag, sample in tags.items()}
        found = Calibration(record.model["reference"], record.model["fingerprint"], tags=told)
    unmatched = f"{text}; " if (text := known.unmatched()) else ""
    if not told:
        raise RequestError(
            f"--labels {labels}: {unmatched}no image of the run has a label; the columns are {', '.join(known.names)}, "
            f"wanted are {'the texts of its questions' if record.job == 'retrieve' else 'names of its attributes'}"
        )
    found.write(output)
    if unmatched:
        typer.echo(f"--labels {labels}: {text}", err=True)
    for line in table(told):
        typer.echo(line)
    typer.echo(f"{len(told)} calibrated for {wanted} → {output}")


def parse_target(text: str) -> Target:
    """`f1`, `precision=0.9` or `recall=0.9`.

    Raises:
        RequestError: something else.
    """
    from vqa_ray.evaluation.calibration import Target

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
    raise RequestError(f"--target {text}: wanted f1, precision=0.9 or recall=0.9")


def table(fits: Mapping[str, CalibrationFit]) -> list[str]:
    """A line for each, with 95 % intervals."""
    width = max(map(len, fits))
    lines = [f"{'':{width}}  threshold  precision (95 %)        recall (95 %)           F1     yes of rows"]
    for name, each in fits.items():
        ratios = (f"{m.value:.3f} ({m.low:.3f}-{m.high:.3f})" for m in (each.precision, each.recall))
        lines.append(
            f"{name:{width}}  {each.threshold:9.3f}  {'     '.join(ratios)}     {each.f1:.3f}  "
            f"{each.positives:,} of {each.rows:,}"
        )
    return lines


def _fitted(name: str, sample: Sample, target: Target) -> CalibrationFit:
    from vqa_ray.evaluation.calibration import fit

    try:
        return fit(sample.scores, sample.labels, target)
    except ValueError as error:
        raise RequestError(f"{name}: {error}") from error


def _name(question: Question) -> str:
    return f'"{question.text}"' + (f' = "{question.answer}"' if question.answer else "")


def taxonomy_of(record: RunRecord, option: str) -> Taxonomy:
    """The taxonomy that a run of `tag` was made with, read again from where it was.

    Args:
        record: of the run.
        option: that named the run, for the message.

    Raises:
        RequestError: it has changed since.
    """
    from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy

    tags = record.command.get("tags")
    taxonomy = load_taxonomy(tags) if tags else default_taxonomy()
    if taxonomy.fingerprint != record.command.get("tags_fingerprint"):
        raise RequestError(f"{option}: {tags or 'the built-in taxonomy'} has changed since")
    return taxonomy
