"""From shards to decoded images: reading, fetching and decoding on CPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import ray
from ray.data import Dataset, TaskPoolStrategy

from vqa_ray.images.decode import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.pipelines.datasource import FixedTasks, scheduled_source, shard_source
from vqa_ray.pipelines.resources import DECODE_CPUS, READ_CPUS, ResourcePlan
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.prepare import PrepareImages
from vqa_ray.stages.read import ReadShard
from vqa_ray.training.stages.read_scheduled import ReadPlanned
from vqa_ray.types import ImageTransform

# A worker process that decodes takes a second or two of a core to start, which is what decoding so much takes.
_WORTH_A_WORKER_BYTES, _WORTH_A_WORKER_ROWS = 16 * 2**20, 1_024
# Their shards tell how large the images are.
_IMAGE_FORMATS = ("images", "webdataset")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How images are fetched and decoded.

    Attributes:
        transform: the size that the model wants.
        limits: larger images become error rows.
        fast_decode: whether JPEG photos may be decoded at reduced scale.
        allow_http: whether http:// and https:// references are fetched.
        run_id: under which decoding notes the rows that kill a process.
    """

    transform: ImageTransform
    limits: ImageLimits
    fast_decode: bool
    allow_http: bool
    run_id: str


def read(tasks: Sequence[ReadShard], placement: ResourcePlan) -> Dataset:
    """READ rows, in blocks small enough that a single shard keeps all CPUs busy."""
    return _read(shard_source(tasks), placement)


def read_scheduled(tasks: Sequence[ReadPlanned], placement: ResourcePlan) -> Dataset:
    """READ rows with the fields of training, in the order of `tasks` when the context preserves it."""
    return _read(scheduled_source(tasks), placement)


def _read(source: FixedTasks, placement: ResourcePlan) -> Dataset:
    tasks = len(source.tasks)
    blocks = max(1, tasks, math.ceil(source.estimated_rows() / placement.rows_per_block))
    readers = TaskPoolStrategy(size=max(1, min(placement.max_readers, tasks)))
    rows = ray.data.read_datasource(source, num_cpus=READ_CPUS, compute=readers, override_num_blocks=blocks)
    return cast("Dataset", rows)


def read_and_decode(
    tasks: Sequence[ReadShard], config: ImageConfig, placement: ResourcePlan, describe: DescribeImages | None = None
) -> Dataset:
    """DECODED rows of shards; see `decode`. Small inputs are decoded by few workers, so that fewer have to start."""
    return decode(read(tasks, placement), config, placement, describe, at_a_time=max_useful_decoders(tasks))


def max_useful_decoders(tasks: Sequence[ReadShard]) -> int | None:
    """How many workers the decoding of shards is worth; None where their images may be of any size."""
    if any(task.source.format not in _IMAGE_FORMATS for task in tasks):
        return None
    source = shard_source(tasks)
    by_bytes = (source.estimate_inmemory_data_size() or 0) / _WORTH_A_WORKER_BYTES
    return max(1, math.ceil(by_bytes), math.ceil(source.estimated_rows() / _WORTH_A_WORKER_ROWS))


def decode(
    rows: Dataset,
    config: ImageConfig,
    placement: ResourcePlan,
    describe: DescribeImages | None = None,
    at_a_time: int | None = None,
) -> Dataset:
    """DECODED rows: fetched where they bring a reference, decoded, upright and at the model's size; described.

    Args:
        rows: READ rows.
        config, placement: how and where.
        describe: adds what else is to be known of the images; None adds nothing.
        at_a_time: the most tasks that decode; None for as many as there are CPUs.
    """
    fetch = FetchImages(ImageFetcher(config.limits.max_image_bytes, allow_http=config.allow_http))
    decoding = DecodeImages(config.transform, config.limits, fast_decode=config.fast_decode, run_id=config.run_id)
    return rows.map_batches(
        PrepareImages(fetch, decoding, describe),
        batch_size=placement.rows_per_block,
        batch_format="pyarrow",
        num_cpus=DECODE_CPUS,
        compute=TaskPoolStrategy(size=at_a_time),
        udf_modifying_row_count=False,
    )
