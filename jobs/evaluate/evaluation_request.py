"""The request of an evaluation: both sides opened, the columns found, before any work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vqa_ray import __version__
from vqa_ray.errors import RequestError
from vqa_ray.evaluation import registry
from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.judging import roles
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.join_key import choose_key
from vqa_ray.judging.judge import JoinPlan
from vqa_ray.judging.prediction_table import PredictionTable, open_predictions
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.record_table import RecordTable, open_records
from vqa_ray.judging.review_table import ReviewTable, is_review
from vqa_ray.judging.roles import Place
from vqa_ray.judging.run_table import RunTable, open_run
from vqa_ray.judging.side import FirstRows, Side
from vqa_ray.judging.work import Work, partitions_for
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.readers.columns import ROLES
from vqa_ray.readers.source import join_names
from vqa_ray.storage.canonical import canonical_uri
from vqa_ray.storage.filesystem import read_bytes

_FORMAT = 1
_OF_JOBS = {"tag": "tags", "caption": "caption", "retrieve": "retrieval"}
# Columns of an input, or places of the official files, rather than of truth.
_OF_INPUTS = frozenset((*ROLES, "image_folder", "annotations"))
_PREDICTION = "prediction"


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be evaluated, and how.

    Attributes:
        work: the steps.
        by: the columns that the measures are broken down by, those of the protocol first.
        content: what another command on the same output must agree with.
        inputs: fingerprints of the sides.
    """

    work: Work
    by: Sequence[str]
    content: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def predictions(self) -> RunTable | PredictionTable:
        """The predictions."""
        side = self.work.predictions
        inner = side.side if isinstance(side, FirstRows) else side
        assert isinstance(inner, RunTable | PredictionTable)
        return inner

    @property
    def truth(self) -> Side | None:
        """The truth, all of it; None where the predictions hold it."""
        side = self.work.truth
        return side.side if isinstance(side, FirstRows) else side

    @property
    def protocol(self) -> Protocol:
        """The protocol."""
        return self.work.plan.protocol

    @property
    def steps(self) -> str:
        """What a later process must agree with to go on with the steps of this one."""
        return f"{__version__}, {self.work.partitions} partitions"

    def to_json(self) -> bytes:
        """Return what is written before any work."""
        content = {"format": _FORMAT, "request": self.content, "inputs": self.inputs, "steps": self.steps}
        return json.dumps(content, indent=2, ensure_ascii=False).encode()


def open_request(spec: EvaluateSpec, predictions: str, truth: str | None) -> EvaluationRequest:
    """Open both sides and find the columns.

    Args:
        spec: of the command.
        predictions: a run, or a table of predictions.
        truth: None where the predictions hold it.

    Raises:
        RequestError: something is missing or does not fit; nothing was written.
    """
    renamed = {name: column for name, column in spec.columns.items() if name not in _OF_INPUTS}
    column = renamed.pop(_PREDICTION, None)
    if (evaluation := EvaluationRecord.read(predictions)) is not None:
        raise RequestError(
            f"--predictions {predictions}: an evaluation; expected the run that it judged ({evaluation.predictions})"
        )
    run = open_run(predictions)
    protocol = _protocol(spec, run, truth)
    attributes = run.attributes if run is not None else ()
    wanted = roles.candidates(protocol, {name: column for name, column in renamed.items() if name not in attributes})
    names = [name for each in wanted.values() for name in each]
    read = tuple(dict.fromkeys((*names, *attributes, *(renamed.values()), *spec.by, *([spec.key] if spec.key else []))))
    side: RunTable | PredictionTable
    side = run or open_predictions(_table_config(spec, predictions), protocol.prediction, read, column)
    _check_kind(protocol, side, predictions)
    other = None if truth is None else _open_truth(spec, truth, read, side)
    labels = _labels(attributes, renamed, side, other) if run is not None else {}
    if labels:
        wanted = {role: each for role, each in wanted.items() if role not in ("labels", "attribute")}
    if protocol.prediction == "labels" and run is not None and not labels:
        there = join_names(roles.present_columns(other or side))
        raise RequestError(
            f"--protocol {protocol.name} needs a column of true labels for an attribute of the run "
            f"({join_names(attributes)}); the columns are: {there}; name one with --column {attributes[0]}=NAME"
        )
    where = f"--truth {truth}" if truth is not None else f"--predictions {predictions}, without --truth,"
    found = roles.resolve(protocol, wanted, side, other, where=where, supplied=("labels",) if labels else ())
    groups = _groups(spec, protocol, found, side, other, attribute=bool(labels))
    key = _key(spec, protocol, side, other)
    plan = JoinPlan(protocol, found, labels, groups, other is not None, spec.limit is None)
    if run is not None:
        reviewed = isinstance(other, ReviewTable)
        multi = frozenset() if reviewed else run.multi
        plan = replace(plan, multi=multi, choices=run.choices, shortlisted=run.shortlisted, reviewed=reviewed)
    work = _work(spec, plan, side, other, key)
    content = {
        "predictions": canonical_uri(predictions),
        "truth": None if truth is None else canonical_uri(truth),
        "protocol": protocol.name,
        **{name: getattr(spec, name) for name in ("by", "key", "limit", "columns", "input_format", "encoding")},
    }
    inputs = {"predictions": side.fingerprint, "truth": "" if other is None else other.fingerprint}
    left_out = set() if labels else {*protocol.units}.difference(spec.by)
    by = [name for name in dict.fromkeys((*protocol.groups, *spec.by)) if name in groups and name not in left_out]
    return EvaluationRequest(work, by, content, inputs)


def earlier_request(directory: EvaluationDirectory) -> dict[str, Any] | None:
    """Return what the output holds of `to_json` of an earlier request; None for none."""
    try:
        content = json.loads(read_bytes(directory.request))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise RequestError(f"{directory.request}: not JSON: {error}") from error
    return dict(content)


def check_protocol(spec: EvaluateSpec) -> None:
    """Check, before an input is answered, that the protocol is known.

    Raises:
        RequestError: there is no such protocol, or none is named and the input is no benchmark.
    """
    if spec.protocol is None and spec.input is not None:
        config = replace(_config(spec, spec.input), format=spec.input_format, needs_image=False, reads_images=False)
        _named(registry.protocol_of(open_source(config).format), spec.input)
    elif spec.protocol is not None:
        registry.protocol(spec.protocol)


def _protocol(spec: EvaluateSpec, run: RunTable | None, truth: str | None) -> Protocol:
    name = spec.protocol
    if name is None and truth is not None and (run is None or run.kind == "text") and _holds_verdicts(spec, truth):
        name = "verdicts"
    if name is None and run is not None:
        name = _OF_JOBS.get(run.job)
    name = name or registry.protocol_of(spec.input_format) or registry.protocol_of(run.input_format if run else None)
    return _named(name, truth or "this run")


def _holds_verdicts(spec: EvaluateSpec, truth: str) -> bool:
    if spec.input_format is not None:
        return False
    try:
        return is_review(_column_names(spec, truth))
    except RequestError:
        return False  # where the truth cannot be read, its own opening says so


def _column_names(spec: EvaluateSpec, uri: str) -> Sequence[str]:
    config = InputConfig(uri, encoding=spec.encoding, needs_question=False, needs_image=False, reads_images=False)
    return open_source(config).columns


def _named(name: str | None, what: str) -> Protocol:
    if name is None:
        raise RequestError(
            f"--protocol: wanted, because {what} does not tell it; known are {join_names(registry.names())}"
        )
    return registry.protocol(name)


def input_columns(spec: EvaluateSpec) -> dict[str, str]:
    """Return the renamed columns that readers of inputs take, rather than the protocol."""
    return {name: column for name, column in spec.columns.items() if name in _OF_INPUTS}


def _config(spec: EvaluateSpec, uri: str) -> InputConfig:
    return InputConfig(uri, columns=input_columns(spec), encoding=spec.encoding)


def _table_config(spec: EvaluateSpec, uri: str) -> InputConfig:
    """Return how to read a table of predictions: with the renamed columns that it has, the truth has the others."""
    config = _config(spec, uri)
    if not config.columns or spec.truth is None:
        return config
    there = _column_names(spec, uri)
    return replace(config, columns={name: column for name, column in config.columns.items() if column in there})


def _open_truth(spec: EvaluateSpec, uri: str, read: Sequence[str], side: RunTable | PredictionTable) -> Side:
    elsewhere = side.table.source.columns if isinstance(side, PredictionTable) else ()
    config = replace(
        _config(spec, uri),
        format=spec.input_format,
        image_root=spec.image_root,
        allow_local=tuple(spec.allow_local),
        questions=tuple(spec.question),
    )
    try:
        if not {*config.columns.values()}.isdisjoint(elsewhere):
            own = {*_column_names(spec, uri)}.union({*config.columns.values()}.difference(elsewhere))
            columns = {name: column for name, column in config.columns.items() if column in own}
            config = replace(config, columns=columns)
        table = open_records(config, read)
        reviews = ReviewTable.of(table.source) if side.kind == "labels" and isinstance(table, RecordTable) else None
        return reviews or table
    except RequestError as error:
        raise RequestError(f"--truth {error}") from error


def _check_kind(protocol: Protocol, side: RunTable | PredictionTable, uri: str) -> None:
    if side.kind != protocol.prediction:
        takes = {"text": "answers or captions", "labels": "tags", "match": "matches of retrieve"}
        raise RequestError(
            f"--protocol {protocol.name} judges {takes[protocol.prediction]}; --predictions {uri} holds "
            f"{takes[side.kind]}"
        )


def _labels(attributes: Sequence[str], renamed: Mapping[str, str], side: Side, other: Side | None) -> dict[str, Place]:
    """Return the column of true labels of each attribute that has one."""
    places = {name: roles.find(renamed.get(name, name), side, other) for name in attributes}
    return {name: place for name, place in places.items() if place is not None}


def _groups(
    spec: EvaluateSpec,
    protocol: Protocol,
    found: Mapping[str, Place],
    side: Side,
    other: Side | None,
    *,
    attribute: bool,
) -> dict[str, Place]:
    groups = {role: found[role] for role in protocol.groups if role in found}
    if attribute:
        groups["attribute"] = Place("attribute", in_truth=False)
    for name in spec.by:
        place = roles.find(name, side, other)
        if place is None:
            there = dict.fromkeys(
                name for each in (other, side) if each is not None for name in roles.present_columns(each)
            )
            raise RequestError(f"--by {name}: neither truth nor run has it; the columns are: {join_names(list(there))}")
        groups[name] = place
    return groups


def _key(
    spec: EvaluateSpec, protocol: Protocol, side: RunTable | PredictionTable, other: Side | None
) -> tuple[str, ...]:
    asks = protocol.prediction == "text" and not (isinstance(side, RunTable) and side.job == "caption")
    several = isinstance(side, RunTable) and side.has_several
    return choose_key(side, other or side, spec.key, asks=asks, has_several=several)


def _work(
    spec: EvaluateSpec, plan: JoinPlan, side: RunTable | PredictionTable, other: Side | None, key: Sequence[str]
) -> Work:
    used = {place.column for place in (*plan.roles.values(), *plan.attributes.values(), *plan.groups.values())} | {*key}
    predictions: Side = side.keeping(used) if isinstance(side, RunTable) else side
    truth = other
    if spec.limit is not None and truth is not None:
        truth = FirstRows(truth, spec.limit)
    elif spec.limit is not None:
        predictions = FirstRows(predictions, spec.limit)
    partitions = partitions_for(plan.protocol, predictions, truth)
    return Work(plan, predictions, truth, key, EvaluationDirectory(spec.output), partitions)
