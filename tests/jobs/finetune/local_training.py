"""The training of a `finetune` command in this process: what Ray brings to a worker, without Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.jobs.finetune.prepare import _prepared
from vqa_ray.jobs.finetune.request import TrainingRequest, open_request
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.finetune.train import training_config
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.read import read_tasks
from vqa_ray.training.config import TrainingConfig
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.prepared import PreparedTraining, split_validation, targets_of
from vqa_ray.training.data.schedule import evaluation_parts
from vqa_ray.training.loop import train
from vqa_ray.training.stages.extract_labels import ExtractLabels
from vqa_ray.training.stages.read_scheduled import ReadScheduled, scheduled_reads


class Killed(BaseException):
    """The end of a process, just after a checkpoint."""


class LocalTraining:
    """A training of one worker.

    Attributes:
        config: of the training.
        paths: where it reads and writes.
        begun_at: the step at which the last process began.
    """

    device = torch.device("cpu")
    threads: int | None = None
    rank = 0

    def __init__(self, spec: FinetuneSpec) -> None:
        self.request: TrainingRequest = open_request(spec)
        source = self.request.train
        labels = ExtractLabels(source.for_workers())
        tables = [labels(table) for task in read_tasks(source.labels) for table in task()]
        rows, validation = split_validation(LabelledRows.from_tables(tables), None, self.request.data, spec.input)
        self.prepared: PreparedTraining = _prepared(self.request, rows, validation, None)
        validation.save(self.request.paths.validation_rows or "")
        self.config: TrainingConfig = training_config(self.request, self.prepared)
        self.paths = self.config.paths
        self._decode = DecodeImages(self.request.begin.transform)
        self._checkpoint = Path(self.paths.checkpoints) / "last"
        self.begun_at = 0

    def run(self, *, killed_after: int | None = None) -> None:
        """Train on from the last checkpoint, as a process of its own would.

        Args:
            killed_after: of so many checkpoints the process dies.
        """
        self._left = killed_after
        with contextlib.suppress(Killed):
            train(self.config, self)

    def training_rows(self, epoch: int, first_step: int) -> Iterator[pa.Table]:
        """See `TrainingContext`."""
        parts = self.prepared.schedule.parts(epoch, first_step)
        return self._decoded(scheduled_reads(self.request.train.images, parts))

    def validation_rows(self) -> Iterator[pa.Table]:
        """See `TrainingContext`."""
        rows = self.prepared.validation
        parts = evaluation_parts(rows.keys, targets_of(rows, None))
        return self._decoded(scheduled_reads(self.request.train.images, parts))

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """See `TrainingContext`."""
        yield self._checkpoint if self._checkpoint.exists() else None

    def save(self, write: Callable[[Path], None], metrics: Mapping[str, Any]) -> None:
        """See `TrainingContext`."""
        write(self._checkpoint)
        self.begun_at = metrics["begun_at"]
        if self._left is not None:
            self._left -= 1
            if not self._left:
                raise Killed

    def _decoded(self, tasks: Sequence[ReadScheduled]) -> Iterator[pa.Table]:
        fetch = FetchImages(ImageFetcher(2**26))
        for task in tasks:
            for table in task():
                yield self._decode(fetch(table))
