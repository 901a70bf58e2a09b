"""Training on a Ray cluster: rows stream from storage over CPU tasks to the training processes."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
from ray.data import DataContext, DataIterator, Dataset, ExecutionResources
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, get_device

from vqa_ray.pipelines.ray_context import SchedulerThrottle, run_context
from vqa_ray.pipelines.read_images import ImageConfig, decode, read_scheduled
from vqa_ray.pipelines.resources import DECODE_CPUS
from vqa_ray.pipelines.trainer import Trainer
from vqa_ray.pipelines.training_failures import TrainingFailures
from vqa_ray.pipelines.training_resources import TrainingResourcePlan
from vqa_ray.readers import Source
from vqa_ray.storage.filesystem import filesystem_for
from vqa_ray.training.config import TrainingConfig
from vqa_ray.training.data.schedule import RowSchedule
from vqa_ray.training.loop import train
from vqa_ray.training.stages.augment import AugmentImages
from vqa_ray.training.stages.read_scheduled import ReadScheduled, scheduled_reads

logger = logging.getLogger(__name__)

_NAME = "train"
# Each is asked for over several processes, which takes longer than a small step.
_BLOCKS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What is read, and in what order.

    Attributes:
        schedule: which row is trained on at which step.
        source: what is trained on, with its shards.
        validation: reads every validation row once; empty for none.
        captions: the column of captions that stand in place of questions; None where there are questions.
    """

    schedule: RowSchedule
    source: Source
    validation: Sequence[ReadScheduled]
    captions: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingStreams:
    """The rows of a training, as they flow.

    Attributes:
        reads: an object reference of `TrainingInputs`.
        images: how they are decoded.
        augment: what is done to images that are trained on; None for nothing.
        plan: where all of it runs.
    """

    reads: ray.ObjectRef[TrainingInputs]
    images: ImageConfig
    augment: AugmentImages | None
    plan: TrainingResourcePlan

    def training(self, epoch: int, first_step: int) -> Dataset:
        """Return the rows of an epoch from `first_step` on, in the order of the schedule, decoded and augmented."""
        reads = ray.get(self.reads)
        tasks = scheduled_reads(reads.source, reads.schedule.parts(epoch, first_step), reads.captions)
        rows = decode(read_scheduled(tasks, self.plan.rows), self.images, self.plan.rows)
        if self.augment is None:
            return rows
        return rows.map_batches(self.augment, batch_size=None, batch_format="pyarrow", num_cpus=DECODE_CPUS)

    def validating(self) -> Dataset:
        """Every validation row, decoded."""
        tasks = ray.get(self.reads).validation
        return decode(read_scheduled(tasks, self.plan.rows), self.images, self.plan.rows)


class RayTrainContext:
    """The `TrainingContext` of a training process of Ray Train; see `vqa_ray.training.loop`."""

    def __init__(self, streams: TrainingStreams) -> None:
        self._streams = streams
        context = ray.train.get_context()
        self.rank, self._ranks = context.get_world_rank(), context.get_world_size()
        self.device = get_device()
        self.threads = streams.plan.threads
        self._shared: list[DataIterator] = []

    def training_rows(self, epoch: int, first_step: int) -> Iterator[pa.Table]:
        """Yield this worker's share of an epoch's rows; every worker must call."""
        return self._share(partial(self._streams.training, epoch, first_step))

    def validation_rows(self) -> Iterator[pa.Table]:
        """Yield this worker's share of the validation rows; every worker must call."""
        return self._share(self._streams.validating)

    def _share(self, build: Callable[[], Dataset]) -> Iterator[pa.Table]:
        splits = None
        if self.rank == 0:
            with DataContext.current(self._context()):
                splits = build().streaming_split(self._ranks, equal=False)
        shares = broadcast_from_rank_zero(splits)
        # Every rank is here, so none reads the stream before this one any more.
        if self.rank == 0:
            _end(self._shared)
        self._shared = shares
        mine = shares[self.rank]
        return iter(mine.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=_BLOCKS_AHEAD))

    def _context(self) -> DataContext:
        plan = self._streams.plan
        context = run_context(plan.rows, None, plan.no_progress_timeout_s)
        context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, SchedulerThrottle]
        # The rows of a step must not overtake those of an earlier one.
        context.execution_options.preserve_order = True
        context.execution_options.exclude_resources = ExecutionResources(
            cpu=plan.cpus * self._ranks, gpu=plan.gpus * self._ranks
        )
        return context

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """Yield the directory of the last checkpoint, None when there is none."""
        last = ray.train.get_checkpoint()
        if last is None:
            yield None
        else:
            with last.as_directory() as directory:
                yield Path(directory)

    def save(self, write: Callable[[Path], None], metrics: Mapping[str, Any]) -> None:
        """Make a checkpoint of what rank 0 writes; every worker must call."""
        with tempfile.TemporaryDirectory() as directory:
            saved = None
            if self.rank == 0:
                write(Path(directory))
                saved = ray.train.Checkpoint.from_directory(directory)
            ray.train.report({**metrics, "workers": self._ranks}, checkpoint=saved)


def _end(shares: Sequence[DataIterator]) -> None:
    """Stop the process that dealt out a stream: it would live, and go on polling, as long as the training."""
    for share in shares[:1]:
        ray.kill(share._coord_actor)  # type: ignore[attr-defined]


def fit(config: TrainingConfig, streams: TrainingStreams, max_failures: int) -> None:
    """Train to the end, from the last checkpoint if there is one.

    Args:
        config: decides all but the rows.
        streams: the rows.
        max_failures: how often a training process may die, while it starts or later; its group starts again from the
            last checkpoint.

    Raises:
        ray.train.TrainingFailedError: it failed, or died too often.
    """
    failures, deaths_at_start, left = TrainingFailures(), 0, max_failures
    try:
        while True:
            try:
                _trainer(config, streams, left, failures).fit()
            except ray.train.ControllerError as error:
                # Ray Train starts its group again for a process that dies before or after it is handed its function,
                # but not for one that dies meanwhile: while it imports the libraries of the training, for seconds.
                deaths_at_start += 1
                left = max_failures - deaths_at_start - failures.count()
                if left < 0 or not isinstance(error.controller_failure, ray.exceptions.RayActorError):
                    raise
                logger.warning("a training process died while it started; starting again")
            else:
                return
    finally:
        failures.forget()


def _trainer(
    config: TrainingConfig, streams: TrainingStreams, max_failures: int, failures: TrainingFailures
) -> Trainer:
    plan = streams.plan
    low, high = plan.workers
    filesystem, path = filesystem_for(config.paths.checkpoints)
    return Trainer(
        train_worker,
        train_loop_config={"config": config, "streams": streams},
        torch_config=TorchConfig(),
        scaling_config=ray.train.ScalingConfig(
            # Checked against the class of Ray Train's first version, which took no range.
            num_workers=low if low == high else (low, high),  # type: ignore[arg-type]
            use_gpu=plan.gpus > 0,
            resources_per_worker={"CPU": plan.cpus} | ({"GPU": plan.gpus} if plan.gpus else {}),
        ),
        run_config=ray.train.RunConfig(
            name=_NAME,
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=config.checkpoints.keep),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
            # Checked against the class of Ray Train's first version, too.
            callbacks=[failures],  # type: ignore[list-item]
        ),
    )


def train_worker(arguments: Mapping[str, Any]) -> None:
    """Train in a process of Ray Train."""
    train(arguments["config"], RayTrainContext(arguments["streams"]))
