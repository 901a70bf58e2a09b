"""The columns from which a protocol gets its values: its roles, of the truth or of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.judging.prediction_table import PredictionTable
from vqa_ray.judging.record_table import RecordTable
from vqa_ray.judging.side import SIDE, Side
from vqa_ray.readers.source import join_names

# What readers of benchmarks call the right answer where a run has an `answer` of its own.
TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Place:
    """A column of one of the sides.

    Attributes:
        column: its name.
        in_truth: whether the truth has it, else the predictions.
    """

    column: str
    in_truth: bool


def candidates(protocol: Protocol, renamed: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the columns that may hold each role of a protocol, the required ones first.

    Args:
        protocol: the protocol.
        renamed: role, or the first name of its columns → the column that holds it.

    Raises:
        RequestError: another name is renamed.
    """
    roles = {role: tuple(names) for role, names in {**protocol.truth, **protocol.optional}.items()}
    if protocol.truth:
        first = next(iter(protocol.truth))
        roles[first] = tuple(dict.fromkeys((*roles[first], TRUTH)))
    given = dict(renamed)
    found = {}
    for role, names in roles.items():
        own = next((given.pop(name) for name in (role, *names) if name in given), None)
        found[role] = names if own is None else (own,)
    if given:
        known = dict.fromkeys(name for role, names in roles.items() for name in (role, names[0]))
        raise RequestError(
            f"--column {next(iter(given))}={next(iter(given.values()))}: {protocol.name} takes no such column; allowed "
            f"are: {join_names([*known, 'prediction', 'image_id', 'question_id', 'question', 'row_id'])}"
        )
    return found


def find(name: str, predictions: Side, truth: Side | None, renamed: Sequence[str] = ()) -> Place | None:
    """Return where a column is, in the truth before the predictions; None where it is nowhere.

    Args:
        name: of the column.
        predictions: a side.
        truth: the other; None where the truth lies in the run.
        renamed: columns that hold something else.
    """
    for side, in_truth in ((truth, True), (predictions, False)):
        if side is not None and (name in side.columns or name in side.ids) and name not in renamed:
            return Place(name, in_truth)
    return None


def resolve(
    protocol: Protocol,
    roles: Mapping[str, Sequence[str]],
    predictions: Side,
    truth: Side | None,
    *,
    where: str,
    supplied: Sequence[str] = (),
) -> dict[str, Place]:
    """Return the column of each role that has one.

    Args:
        protocol: the protocol.
        roles: of `candidates`.
        predictions: a side.
        truth: the other; None where the truth lies in the run.
        where: what holds the truth, for the message.
        supplied: roles that need no column.

    Raises:
        RequestError: there is no column for a role that the protocol needs.
    """
    found = {}
    for role, names in roles.items():
        places = (find(name, predictions, truth) for name in names)
        if (place := next(filter(None, places), None)) is not None:
            found[role] = place
    lacking = [role for role in protocol.truth if role not in found and role not in supplied]
    if lacking:
        there = join_names(present_columns(predictions if truth is None else truth))
        wanted = "; ".join(f"{role} ({' or '.join(roles[role])})" for role in lacking)
        raise RequestError(
            f"--protocol {protocol.name} needs a column for {wanted}, which {where} lacks; the columns are: {there}; "
            f"name it with --column {lacking[0]}=NAME"
        )
    return found


def present_columns(side: Side) -> list[str]:
    """Return the columns of a side, for a message."""
    table = side.table if isinstance(side, PredictionTable) else side
    columns = table.source.columns if isinstance(table, RecordTable) else side.columns
    return [*columns, *(name for name in SIDE.names if name in side.ids and name not in columns)]
