"""The work of an evaluation in steps that processes share: divide both sides, judge each partition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.findings import Findings
from vqa_ray.judging.judge import JoinPlan, judge_partition, true_values
from vqa_ray.judging.partition import PARTITION_ROWS, divide, read_partition, side_file
from vqa_ray.judging.side import Side
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.filesystem import exists, read_bytes
from vqa_ray.storage.uri import join

_PREDICTIONS, _TRUTH = "predictions", "truth"


@dataclass(frozen=True, slots=True)
class Work:
    """An evaluation to be done; every step leaves out what is there already.

    Attributes:
        plan: how rows are joined and judged.
        predictions, truth: the sides; `truth` is None where the predictions hold it.
        key: the columns of the id.
        directory: of the output.
        partitions: how many there are.
    """

    plan: JoinPlan
    predictions: Side
    truth: Side | None
    key: Sequence[str]
    directory: EvaluationDirectory
    partitions: int

    @property
    def divisions(self) -> list[tuple[str, int]]:
        """The steps that divide the sides: the name of a side, the number of a task."""
        sides = {_PREDICTIONS: self.predictions, _TRUTH: self.truth}
        return [(name, task) for name, side in sides.items() if side is not None for task in range(side.tasks)]

    def divide(self, division: tuple[str, int]) -> None:
        """Divide a part of a side."""
        name, task = division
        side = self.predictions if name == _PREDICTIONS else self.truth
        assert side is not None
        divide(side, task, self.key, self.partitions, side_file(self.directory.work, name, task))

    def fitted(self) -> Work:
        """Return the same with a protocol that knows all truths, where it wants to."""
        if type(self.plan.protocol).fit is Protocol.fit:
            return self
        name = _PREDICTIONS if self.truth is None else _TRUTH
        self.plan.protocol.fit(true_values(self.plan, self._tables(name)))
        return self

    def judge(self, partition: int) -> Findings:
        """Judge a partition and write its rows."""
        told = join(self.directory.work, f"findings-{partition:05d}.json")
        if exists(told) and exists(self.directory.rows_file(partition)):
            return Findings.from_dict(json.loads(read_bytes(told)))
        sides = (
            read_partition(self.directory.work, name, partition, self.partitions) for name in (_PREDICTIONS, _TRUTH)
        )
        rows, found = judge_partition(self.plan, *sides)
        write_table_atomic(self.directory.rows_file(partition), rows)
        write_bytes_atomic(told, json.dumps(found.to_dict()).encode())
        return found

    def _tables(self, name: str) -> Iterator[pa.Table]:
        for partition in range(self.partitions):
            table = read_partition(self.directory.work, name, partition, self.partitions)
            if table is not None:
                yield table


def partitions_for(protocol: Protocol, predictions: Side, truth: Side | None) -> int:
    """Return how many partitions keep each at a size that fits into memory; one where the order of rows matters."""
    rows = max(predictions.rows, 0 if truth is None else truth.rows)
    return 1 if protocol.in_order else max(1, -(-rows // PARTITION_ROWS))


def do_step(work: Work, step: str, item: object) -> object:
    """Do a step of an evaluation, `divide` or `judge`; what a process or a Ray task is given."""
    return getattr(work, step)(item)
