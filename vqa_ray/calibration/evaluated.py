"""The truth of an evaluation as labels of images, for `calibrate`."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from vqa_ray.calibration.file import Calibration
from vqa_ray.calibration.samples import Labels
from vqa_ray.errors import RequestError
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.rows import MEASURED, read_judged
from vqa_ray.predicates.parser import parse
from vqa_ray.predicates.predicate import Question, Term
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord

_COLUMNS = ("image_id", "attribute", "truth", "outcome")


def evaluated_labels(uri: str) -> tuple[str, Labels]:
    """Return the run that an evaluation is of, and the truth of its images.

    Raises:
        RequestError: it is no finished evaluation of a run of tag, or of a run of retrieve with one question.
    """
    record = EvaluationRecord.read(uri)
    if record is None:
        raise RequestError(f"--evaluation {uri}: expected a finished evaluation (vqa-ray evaluate)")
    if record.job not in ("tag", "retrieve"):
        raise RequestError(
            f"--evaluation {uri}: is of {f'a run of {record.job}' if record.job else 'a table of predictions'}; "
            "thresholds are for tag and retrieve, expected is an evaluation of a run of one of them"
        )
    question = _question(uri, record.predictions) if record.job == "retrieve" else None
    columns: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for table in read_judged(uri, _COLUMNS):
        for row in table.to_pylist():
            if row["outcome"] not in MEASURED or row["image_id"] is None or row["truth"] is None:
                continue
            if question is not None:
                fits, other = (question.answer, "") if question.answer else ("yes", "no")
                columns[row["image_id"]][question.text] = fits if row["truth"] == "match" else other
            elif row["attribute"] is not None:
                labels = row["truth"].split("; ") if row["truth"] else []
                columns[row["image_id"]][row["attribute"]] = labels
    names = dict.fromkeys(name for row in columns.values() for name in row)
    return record.predictions, Labels(columns, list(names), uri)


def _question(uri: str, run: str) -> Question:
    """Return the only question of a run of retrieve, whose yes is a match."""
    record = RunRecord.read(RunDirectory(run).record)
    if record is None:
        raise RequestError(f"--evaluation {uri}: its run {run} is no longer there; expected --run and --labels")
    where, file = record.command["where"], record.command.get("calibration")
    predicate = parse(where, calibrated=Calibration.read(file).questions if file else None)
    root = predicate.root
    if not isinstance(root, Term) or (root.comparison is not None and root.comparison[0].startswith("<")):
        raise RequestError(
            f"--evaluation {uri}: the truth is of the whole expression {where}; expected a run of retrieve with one "
            "question, or --run and --labels with a column for each"
        )
    return predicate.questions[0]
