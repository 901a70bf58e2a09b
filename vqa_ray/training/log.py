"""The log of a training: what each step and each validation came to, small enough to travel in every checkpoint."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

# Twice as many points as a chart can show.
DEFAULT_LIMIT = 1_024

_COUNTS = pa.map_(pa.string(), pa.int64())
# One row per record. `samples` to `gradient_norm` are of training, `accuracy` to `rows_by_type` of validation.
METRICS = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("loss", pa.float64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("steps", pa.int64()),
        pa.field("samples", pa.int64()),
        pa.field("samples_per_s", pa.float64()),
        pa.field("learning_rate", pa.float64()),
        pa.field("gradient_norm", pa.float64()),
        pa.field("accuracy", pa.float64()),
        pa.field("accuracy_by_type", pa.map_(pa.string(), pa.float64())),
        pa.field("rows", pa.int64()),
        pa.field("rows_by_type", _COUNTS),
        pa.field("skipped", _COUNTS, nullable=False),
    ]
)
TRAIN = "train"
VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimiser step, or the mean of several that follow each other.

    Attributes:
        step: optimiser steps done with this one, or with the last of these, since training began.
        epoch: of that step, from 0.
        loss: mean per sample; means nothing without samples.
        learning_rate: that step's.
        samples: rows trained on.
        seconds: wall time.
        gradient_norm: before clipping; mean over the steps.
        skipped: error code → rows that could not be trained on.
        steps: how many steps it stands for.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    samples: int
    seconds: float
    gradient_norm: float
    skipped: Mapping[str, int] = field(default_factory=dict)
    steps: int = 1

    @property
    def samples_per_s(self) -> float:
        """Rows trained on per second of wall time; 0 where no time was measured."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ValidationRecord:
    """One validation.

    Attributes:
        step: optimiser steps done before it.
        epoch: of the last of them, from 0.
        loss: mean per row.
        accuracy: official VQA accuracy in 0..1, over all rows judged.
        accuracy_by_type, rows_by_type: answer type → accuracy, and rows it is a mean of.
        rows: judged.
        skipped: error code → rows that could not be judged.
        seconds: wall time.
    """

    step: int
    epoch: int
    loss: float
    accuracy: float
    rows: int
    accuracy_by_type: Mapping[str, float] = field(default_factory=dict)
    rows_by_type: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class TrainingLog:
    """Steps and validations in their order, each exactly once.

    When there are more than `limit` step records, neighbours are joined: from then on each stands for the mean of twice
    as many steps. Sums over the training (samples, seconds, skipped) and means weighted by samples stay what they are.
    A log that goes on from `to_json` becomes the very log that it would have been without the break.

    Args:
        limit: most step records to keep, at least 2.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 2:
            raise ValueError(f"a log of {limit} step records: at least 2 are needed")
        self.limit = limit
        self.every = 1
        self.train: list[StepRecord] = []
        self.validations: list[ValidationRecord] = []

    def add_step(self, record: StepRecord) -> None:
        """Append the record of one step.

        Raises:
            ValueError: it is not the step that follows the last one, or holds a number that is not finite.
        """
        if record.steps != 1 or record.step != self.steps + 1:
            raise ValueError(
                f"step {record.step} was recorded for {record.steps} steps; expected {self.steps + 1} for 1"
            )
        _check_finite(f"step {record.step}", record.loss, record.learning_rate, record.seconds, record.gradient_norm)
        if self.train and self.train[-1].steps < self.every:
            self.train[-1] = _joined(self.train[-1], record)
            return
        self.train.append(record)
        if len(self.train) > self.limit:
            pairs = (self.train[start : start + 2] for start in range(0, len(self.train), 2))
            self.train = [_joined(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
            self.every *= 2

    def add_validation(self, record: ValidationRecord) -> None:
        """Append a validation.

        Raises:
            ValueError: one of the same or a later step is there, or it holds a number that is not finite.
        """
        if self.validations and record.step <= self.validations[-1].step:
            raise ValueError(f"validation at step {record.step} was recorded after that at {self.validations[-1].step}")
        _check_finite(f"validation at step {record.step}", record.loss, record.accuracy, record.seconds)
        self.validations.append(record)

    @property
    def steps(self) -> int:
        """Optimiser steps done."""
        return self.train[-1].step if self.train else 0

    @property
    def samples(self) -> int:
        """Rows trained on, epochs added up."""
        return sum(record.samples for record in self.train)

    @property
    def seconds(self) -> float:
        """Wall time of the steps, without validation."""
        return sum(record.seconds for record in self.train)

    @property
    def samples_per_s(self) -> float:
        """Rows trained on per second of the steps' wall time; 0 where no time was measured."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0

    @property
    def skipped(self) -> dict[str, int]:
        """Error code → rows that could not be trained on, epochs added up."""
        return _added(record.skipped for record in self.train)

    @property
    def best(self) -> ValidationRecord | None:
        """The validation of the highest accuracy, the first of equals; None when there is none."""
        return max(self.validations, key=lambda record: record.accuracy, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes, of plain values that JSON can hold."""
        return {
            "limit": self.limit,
            "every": self.every,
            "train": [asdict(record) for record in self.train],
            "validations": [asdict(record) for record in self.validations],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingLog:
        """Return the log that gave `content`."""
        log = cls(content["limit"])
        log.every = content["every"]
        log.train = [StepRecord(**record) for record in content["train"]]
        log.validations = [ValidationRecord(**record) for record in content["validations"]]
        return log

    def to_table(self) -> pa.Table:
        """One row per record with the schema METRICS, by step, training before validation."""
        rows = [
            {"kind": TRAIN, **asdict(record), "samples_per_s": record.samples_per_s}
            | ({} if record.samples else {"loss": None})
            for record in self.train
        ]
        rows += [{"kind": VALIDATION, **asdict(record)} for record in self.validations]
        rows.sort(key=lambda row: (row["step"], row["kind"]))
        return pa.Table.from_pylist(rows, METRICS)


def should_stop(validations: Sequence[ValidationRecord], patience: int | None, min_delta: float = 0.0) -> bool:
    """Whether the accuracy has not risen for `patience` validations.

    Args:
        validations: in their order.
        patience: at least 1; None never stops.
        min_delta: by how much more than the best so far is a rise.

    Raises:
        ValueError: `patience` is less than 1 or `min_delta` is negative.
    """
    if patience is None:
        return False
    if patience < 1 or min_delta < 0:
        raise ValueError(f"patience {patience} and min_delta {min_delta}: at least 1 and 0 are needed")
    best, waited = -math.inf, 0
    for record in validations:
        rises = record.accuracy > best + min_delta
        best, waited = (record.accuracy, 0) if rises else (best, waited + 1)
    return waited >= patience


def _joined(first: StepRecord, second: StepRecord) -> StepRecord:
    samples, steps = first.samples + second.samples, first.steps + second.steps
    loss = (first.loss * first.samples + second.loss * second.samples) / samples if samples else 0.0
    return StepRecord(
        step=second.step,
        epoch=second.epoch,
        loss=loss,
        learning_rate=second.learning_rate,
        samples=samples,
        seconds=first.seconds + second.seconds,
        gradient_norm=(first.gradient_norm * first.steps + second.gradient_norm * second.steps) / steps,
        skipped=_added([first.skipped, second.skipped]),
        steps=steps,
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _check_finite(what: str, *numbers: float) -> None:
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{what}: not all of {', '.join(map(str, numbers))} are finite")
