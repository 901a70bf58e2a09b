"""Sentences on what an evaluation found beside its measures: ids and rows that do not fit."""

from __future__ import annotations

from vqa_ray.counted import counted
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.judging.findings import Findings
from vqa_ray.judging.review_table import ReviewTable
from vqa_ray.judging.side import Side

# Finding → what is said of one, and of several.
_SENTENCES = {
    "missing": (
        "row of truth has no prediction; it counts as wrong",
        "rows of truth have no prediction; they count as wrong",
    ),
    "unparsed": (
        "prediction cannot be read as an answer of the wanted kind; it counts as wrong",
        "predictions cannot be read as an answer of the wanted kind; they count as wrong",
    ),
    "no_truth": (
        "row of the run has no truth; it is not in the measures",
        "rows of the run have no truth; they are not in the measures",
    ),
    "bad_truth": (
        "row of truth cannot be used; it is not in the measures",
        "rows of truth cannot be used; they are not in the measures",
    ),
    "malformed_predictions": (
        "row of predictions cannot be read; it counts as wrong if its id can",
        "rows of predictions cannot be read; they count as wrong where their id can",
    ),
    "unlabelled": (
        "cell of labels is empty or ?, which is not labelled; it is not in the measures",
        "cells of labels are empty or ?, which is not labelled; they are not in the measures",
    ),
    "unknown_labels": (
        "true label is no choice of the run; it counts as missed",
        "true labels are no choices of the run; they count as missed",
    ),
    "boolean_truth": (
        "row has the answer yes or no and the truth true or false, which are different texts",
        "rows have the answer yes or no and the truth true or false, which are different texts",
    ),
    "similar_ids": (
        "id differs in leading zeros, case, blanks or .0 only; ids are text and were not merged",
        "ids differ in leading zeros, case, blanks or .0 only; ids are text and were not merged",
    ),
    "duplicate_truth": (
        "row of truth repeats an id; the first of each counts",
        "rows of truth repeat an id; the first of each counts",
    ),
    "contradicting_truth": (
        "of them says something else than the first",
        "of them say something else than the first",
    ),
    "duplicate_predictions": (
        "row of the run repeats an id; the first of each counts",
        "rows of the run repeat an id; the first of each counts",
    ),
    "superseded": (
        "row of the run is of an earlier attempt; the last of each counts",
        "rows of the run are of earlier attempts; the last of each counts",
    ),
}


def notes_on(found: Findings, spec: EvaluateSpec, truth: Side | None) -> list[str]:
    """Return a sentence for each finding, with examples.

    Args:
        found: what was found.
        spec: of the command.
        truth: the side.
    """
    notes = []
    if isinstance(truth, ReviewTable) and truth.probabilities[0] < truth.probabilities[1]:
        low, high = truth.probabilities
        notes.append(
            f"the review drew rows with probabilities of {low:.2g} to {high:.2g}, which the measures do not weigh: "
            "they are of the sample, not of the run; review a random sample for figures of the run"
        )
    if spec.limit is not None:
        notes.append(f"--limit: only the first {counted(spec.limit, 'row')} of truth")
    held, beyond = found.counts["in_shortlist"], found.counts["beyond_shortlist"]
    if held + beyond:
        examples = f" (not, for example, {'; '.join(found.examples['beyond_shortlist'])})" if beyond else ""
        notes.append(f"the shortlists held {held / (held + beyond):.4g} of {held + beyond:,} true labels{examples}")
    for finding, (one, several) in _SENTENCES.items():
        if count := found.counts[finding]:
            sentence = one if count == 1 else several
            examples = "; ".join(found.examples[finding])
            notes.append(f"{count:,} {sentence}" + (f" (for example {examples})" if examples else ""))
    return notes
