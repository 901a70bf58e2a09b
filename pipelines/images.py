"""From shards to decoded images: reading, fetching and decoding on CPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ray
from ray.data import Dataset, TaskPoolStrategy

from pipelines.placement import DECODE_CPUS, READ_CPUS, Placement
from pipelines.source import shard_source
from vqa_ray.images import ImageLimits
from vqa_ray.models.base import ImageTransform
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.describe import DescribeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.prepare import PrepareImages
from vqa_ray.stages.read import ReadShard


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


def read(tasks: Sequence[ReadShard], placement: Placement) -> Dataset:
    """READ rows, in blocks small enough that a single shard keeps all CPUs busy."""
    source = shard_source(tasks)
    blocks = max(len(tasks), math.ceil(source.estimated_rows() / placement.rows_per_block))
    readers = TaskPoolStrategy(size=max(1, min(placement.max_readers, len(tasks))))
    return ray.data.read_datasource(source, num_cpus=READ_CPUS, compute=readers, override_num_blocks=max(1, blocks))


def decode(rows: Dataset, config: ImageConfig, placement: Placement, describe: DescribeImages | None = None) -> Dataset:
    """DECODED rows: fetched where they bring a reference, decoded, upright and at the model's size; described."""
    fetch = FetchImages(config.limits, allow_http=config.allow_http)
    decoding = DecodeImages(config.transform, config.limits, fast_decode=config.fast_decode, run_id=config.run_id)
    return rows.map_batches(
        PrepareImages(fetch, decoding, describe),
        batch_size=placement.rows_per_block,
        batch_format="pyarrow",
        num_cpus=DECODE_CPUS,
        udf_modifying_row_count=False,
    )
