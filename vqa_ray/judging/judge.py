"""One partition of an evaluation: predictions and truth joined by id, judged, and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vqa_ray.evaluation.protocol import Judgement, Outcome, Protocol
from vqa_ray.judging.cells import listed_texts, true_labels
from vqa_ray.judging.findings import Findings
from vqa_ray.judging.roles import Place
from vqa_ray.judging.rows import EXTRA, JUDGED, Unmeasured, judged_schema
from vqa_ray.judging.similar_ids import note_similar_ids
from vqa_ray.storage.python_rows import python_rows

_TEXT = 4_000

Row = Mapping[str, Any]
# What tells a row of predictions from others: its id, or its place where it has none; and its attribute.
Identity = tuple[object, str | None]
_NOTHING: Row = {}


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """The columns by which rows are joined and judged.

    Attributes:
        protocol: judges.
        roles: of the protocol → column.
        attributes: of a tag run → column of their true labels; empty for other runs.
        groups: column of the judged rows → column that it is taken from.
        has_truth: whether there is truth beside the predictions, which else hold it themselves.
        lists_untold: whether rows of the run without truth are written.
        multi: the attributes that may have no label, of which an empty cell says so.
        choices: attribute → the labels that the run chooses from, where they are known.
        shortlisted: the attributes of which each image was asked about some choices.
        reviewed: whether the truth is verdicts, on some attributes of an image.
    """

    protocol: Protocol
    roles: Mapping[str, Place]
    attributes: Mapping[str, Place]
    groups: Mapping[str, Place]
    has_truth: bool
    lists_untold: bool = True
    multi: frozenset[str] = frozenset()
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    shortlisted: frozenset[str] = frozenset()
    reviewed: bool = False


def judge_partition(plan: JoinPlan, predictions: pa.Table | None, truth: pa.Table | None) -> tuple[pa.Table, Findings]:
    """Join and judge the rows of a partition.

    Args:
        plan: how.
        predictions: rows of `side.prediction_schema`, with a column `key`.
        truth: rows of SIDE, with a column `key`; None for none.

    Returns:
        Rows of `rows.judged_schema`, those of the truth in its order first; and what is to be told of them.
    """
    found = Findings()
    given = _chosen(plan, predictions, found)
    judged: list[dict[str, Any]] = []
    lonely: list[str] = []
    known: set[Identity] = set()
    for row in _truth(plan, truth, found) if plan.has_truth else _own_truth(given):
        identity = _identity(plan, row)
        for attribute in _attributes(plan, row, given, identity, found):
            known.add((identity, attribute))
            prediction = given.get((identity, attribute))
            if prediction is None:
                lonely.append(row["key"])
            else:
                found.counts["joined"] += 1
            judged.append(_judge(plan, row, prediction, attribute, found))
    rest = [row for place, row in given.items() if place not in known] if plan.has_truth else []
    note_similar_ids(lonely, [row["key"] for row in rest], found)
    if plan.lists_untold:
        judged += [_untold(plan, row, found) for row in rest if row["attribute"] in (plan.attributes or (None,))]
    extra = dict.fromkeys(name for row in judged for name in row if name.startswith(EXTRA))
    schema = judged_schema(plan.groups, [name.removeprefix(EXTRA) for name in extra])
    columns = [pa.array([row.get(field.name) for row in judged], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema), found


def true_values(plan: JoinPlan, tables: Iterator[pa.Table]) -> Iterator[dict[str, Any]]:
    """Yield the values of truth by role, of every row, as `Protocol.fit` takes them."""
    for table in tables:
        for row in python_rows(table):
            for attribute in plan.attributes or (None,):
                values = _values(plan, row, row, attribute)
                if values is not None and all(values[role] is not None for role in plan.protocol.truth):
                    yield values


def _identity(plan: JoinPlan, row: Row) -> object:
    own = (row["order"], row.get("place"))
    return row["key"] if plan.has_truth and row["key"] is not None else own


def _chosen(plan: JoinPlan, table: pa.Table | None, found: Findings) -> dict[Identity, Row]:
    """Return the row of predictions that counts of each id and attribute: of the last attempt, of the first row."""
    chosen: dict[Identity, Row] = {}
    for row in _rows(table):
        if row["malformed"] is not None:
            found.note("malformed_predictions", row["malformed"])
        at = _identity(plan, row), row["attribute"]
        earlier = chosen.setdefault(at, row)
        if earlier is row:
            continue
        if row["attempt"] == earlier["attempt"]:
            found.note("duplicate_predictions", row["key"])
            continue
        found.note("superseded", row["key"])
        if row["attempt"] > earlier["attempt"]:
            chosen[at] = row
    return chosen


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    """Return rows in the order in which they were read."""
    return [] if table is None else python_rows(table.sort_by([("order", "ascending")]))


def _own_truth(given: Mapping[Identity, Row]) -> Iterator[Row]:
    """Yield the rows of a run that holds the truth itself, one for all attributes."""
    seen: set[object] = set()
    for (identity, _), row in given.items():
        if identity not in seen:
            seen.add(identity)
            yield row


def _truth(plan: JoinPlan, table: pa.Table | None, found: Findings) -> Iterator[Row]:
    """Yield the rows of truth that count, the first of each id."""
    places = [each.column for each in (*plan.roles.values(), *plan.attributes.values()) if each.in_truth]
    first: dict[str, Row] = {}
    for row in _rows(table):
        key = row["key"]
        if key is None:
            yield {**row, "malformed": row["malformed"] or "the row has no id"}
        elif (earlier := first.setdefault(key, row)) is row:
            yield row
        else:
            found.note("duplicate_truth", key)
            if any(row[column] != earlier[column] for column in places):
                found.note("contradicting_truth", key)


def _attributes(
    plan: JoinPlan, row: Row, given: Mapping[Identity, Row], identity: object, found: Findings
) -> Sequence[str | None]:
    """Return the attributes of a row that have truth; None for the only one where there are no attributes."""
    if not plan.attributes:
        return (None,)
    labelled = []
    for name, place in plan.attributes.items():
        own = row if place.in_truth else given.get((identity, name))
        if own is None:
            continue
        if row["malformed"] or _labels(plan, own.get(place.column), name, found) is not None:
            labelled.append(name)
        elif not plan.reviewed:
            found.note("unlabelled", f"{row['key']}: {name}")
    return labelled


def _labels(plan: JoinPlan, cell: Any, attribute: str | None, found: Findings | None = None) -> list[Any] | None:
    """Return the true labels in a cell; None where it is not labelled."""
    labels = true_labels(cell, multi=attribute is None or attribute in plan.multi)
    choices = plan.choices.get(attribute or "")
    if found is not None and choices is not None and not plan.reviewed:
        for label in labels or ():
            if label not in choices:
                found.note("unknown_labels", f"{attribute}: {label!r}")
    return labels


def _values(plan: JoinPlan, truth: Row, prediction: Row, attribute: str | None) -> dict[str, Any] | None:
    """Return the values of the roles; None where the row has no truth for the attribute."""
    values: dict[str, Any] = dict.fromkeys((*plan.protocol.truth, *plan.protocol.optional))
    for role, place in plan.roles.items():
        cell = (truth if place.in_truth else prediction).get(place.column)
        values[role] = listed_texts(cell) if role in plan.protocol.truth else cell
    if plan.protocol.prediction == "labels" and not plan.attributes:
        values["labels"] = _labels(plan, values["labels"], None)
    if attribute is not None and plan.attributes:
        place = plan.attributes[attribute]
        values["labels"] = _labels(plan, (truth if place.in_truth else prediction).get(place.column), attribute)
        values["attribute"] = attribute
        return None if values["labels"] is None else values
    return values


def _judge(
    plan: JoinPlan, truth: Row, prediction: Row | None, attribute: str | None, found: Findings
) -> dict[str, Any]:
    own = prediction or _NOTHING
    values = _values(plan, truth, own, attribute) or {}
    given = own.get("prediction")
    outcome: str = Outcome.JUDGED
    if prediction is None or (given is None and not own["failed"]):
        outcome = Outcome.MISSING
    elif own["failed"]:
        outcome = Outcome.FAILED
        found.errors[own["error_code"] or "unknown"] += 1
    judgement, problem = _judgement(plan, values, own, truth, outcome)
    if attribute in plan.shortlisted and outcome == Outcome.JUDGED:
        asked = {each["label"] for each in own["scores"] or ()}
        for label in values.get("labels") or ():
            found.note(*(("in_shortlist",) if label in asked else ("beyond_shortlist", f"{attribute}: {label!r}")))
    if judgement is None:
        outcome = Unmeasured.BAD_TRUTH
    elif outcome == Outcome.JUDGED and judgement.read_as is None:
        outcome = Outcome.UNPARSED
    elif judgement.truth in ("true", "false") and judgement.read_as in ("yes", "no"):
        found.note("boolean_truth", truth["key"])
    key = truth["key"]
    found.note(outcome, f"{key}: {problem}" if judgement is None else given if outcome == Outcome.UNPARSED else key)
    shown = truth if truth.get("image_id") is not None else own
    row = {
        "key": key,
        "attribute": attribute,
        "image_id": shown.get("image_id"),
        "image_uri": own.get("image_uri") or truth.get("image_uri"),
        "question": own.get("question") or truth.get("question"),
        "prediction": _shown(given),
        "read_as": None if judgement is None else judgement.read_as,
        "truth": _first_text(plan, values) if judgement is None or judgement.truth is None else judgement.truth,
        "score": None if judgement is None else judgement.score if outcome == Outcome.JUDGED else 0.0,
        "outcome": str(outcome),
        "error_code": own.get("error_code"),
        "confidence": own.get("confidence"),
        **_groups(plan, truth, own),
    }
    if judgement is not None:
        row |= {f"{EXTRA}{name}": float(value) for name, value in judgement.extra.items()}
    return row


def _judgement(
    plan: JoinPlan, values: dict[str, Any], own: Row, truth: Row, outcome: str
) -> tuple[Judgement | None, str]:
    """Return the judgement, or None and what is wrong with the truth."""
    if truth["malformed"]:
        return None, str(truth["malformed"])
    if (empty := next((role for role in plan.protocol.truth if values.get(role) is None), None)) is not None:
        return None, f"{empty} is null"
    try:
        if outcome != Outcome.JUDGED:
            return plan.protocol.judge_absent(values), ""
        if plan.protocol.prediction == "labels":
            values["scores"] = {each["label"]: each["score"] for each in own["scores"] or ()}
        elif plan.protocol.prediction == "match":
            values["scores"] = own["confidence"]
        return plan.protocol.judge(own["prediction"], values), ""
    except ValueError as error:
        return None, str(error)


def _untold(plan: JoinPlan, row: Row, found: Findings) -> dict[str, Any]:
    """Return the judged row of a prediction without truth."""
    found.note(Unmeasured.NO_TRUTH, row["key"])
    own = {name: row.get(name) for name in JUDGED.names if name not in ("read_as", "truth", "score", "outcome")}
    own["prediction"] = _shown(row["prediction"])
    return {**own, "outcome": str(Unmeasured.NO_TRUTH), **_groups(plan, _NOTHING, row)}


def _groups(plan: JoinPlan, truth: Row, own: Row) -> dict[str, str | None]:
    return {
        name: _shown((truth if place.in_truth else own).get(place.column))
        for name, place in plan.groups.items()
        if name not in JUDGED.names
    }


def _shown(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def _first_text(plan: JoinPlan, values: Mapping[str, Any]) -> str | None:
    value = _shown(values.get(next(iter(plan.protocol.truth), "")))
    return None if value is None else value[:_TEXT]
