"""From shards to decoded images: reading, fetching and decoding on CPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import ray
from ray.data import Dataset, TaskPoolStrategy
from ray.data._internal.logical.interfaces import LogicalPlan
from ray.data._internal.logical.operators import StreamingRepartition

from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import Fetcher, ImageFetcher
from vqa_ray.images.outage import PatientFetcher
from vqa_ray.images.page_refs import DEFAULT_DPI, PageLimits
from vqa_ray.pipelines.datasource import FixedTasks, scheduled_source, shard_source
from vqa_ray.pipelines.reports import outage_policy
from vqa_ray.pipelines.resources import DECODE_CPUS, READ_CPUS, ResourcePlan
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.join_images import JoinImages
from vqa_ray.stages.prepare import PrepareImages
from vqa_ray.stages.read import ReadShard
from vqa_ray.training.stages.read_scheduled import ReadScheduled
from vqa_ray.types import ImageTransform

# A decoding worker takes a second or two of a core to start, as long as to decode this much.
_WORTH_A_WORKER_BYTES, _WORTH_A_WORKER_ROWS = 16 * 2**20, 1_024
# Formats whose shard sizes are the sizes of the images.
_IMAGE_FORMATS = ("images", "webdataset")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How images are fetched and decoded.

    Attributes:
        transform: gives the model's image size.
        limits: larger images become error rows.
        fast_decode: decode JPEG photos at reduced scale.
        allow_http: fetch http:// and https:// references.
        run_id: names the run in the journal of batches that killed a process.
        join: finds the images of rows that hold none; None for rows that do.
        lenient: see `DecodeImages`.
        outage_timeout_s: an image store that is down for longer ends the run; 0 makes error rows of its images at once.
        row_timeout_s: see `DecodeImages`.
        dpi: of pages of PDF documents.
    """

    transform: ImageTransform
    limits: ImageLimits
    fast_decode: bool
    allow_http: bool
    run_id: str
    join: JoinImages | None = None
    lenient: bool = False
    outage_timeout_s: float = 0.0
    row_timeout_s: float = 0.0
    dpi: int = DEFAULT_DPI

    def page_limits(self) -> PageLimits:
        """Return the size of rendered pages."""
        seconds = {"timeout_s": self.row_timeout_s} if self.row_timeout_s else {}
        return PageLimits(self.dpi, self.limits.max_image_pixels, self.limits.max_image_side, **seconds)


def read(tasks: Sequence[ReadShard], resources: ResourcePlan) -> Dataset:
    """Read shards: READ rows, in blocks small enough that a single shard keeps all CPUs busy."""
    return _read(shard_source(tasks), resources)


def read_scheduled(tasks: Sequence[ReadScheduled], resources: ResourcePlan) -> Dataset:
    """Read a training schedule: READ rows with training fields, in order where the context preserves it."""
    return _read(scheduled_source(tasks), resources)


def _read(source: FixedTasks, resources: ResourcePlan) -> Dataset:
    tasks, rows = len(source.tasks), source.estimated_rows()
    blocks = max(1, tasks, math.ceil(rows / resources.rows_per_read_block(rows)))
    readers = TaskPoolStrategy(size=max(1, min(resources.max_readers, tasks)))
    read = ray.data.read_datasource(source, num_cpus=READ_CPUS, compute=readers, override_num_blocks=blocks)
    return cast("Dataset", read)


def read_and_decode(
    tasks: Sequence[ReadShard],
    config: ImageConfig,
    resources: ResourcePlan,
    describe: DescribeImages | None = None,
    *,
    carry: bool = False,
    embedded: bool = False,
) -> Dataset:
    """Read shards and `decode` them. Few workers decode a small input, so that few have to start."""
    decoders = max_useful_decoders(tasks)
    rows = read(tasks, resources)
    return in_full_blocks(
        decode(rows, config, resources, describe, max_concurrency=decoders, carry=carry, embedded=embedded),
        resources,
        decoders,
    )


def in_full_blocks(decoded: Dataset, resources: ResourcePlan, max_concurrency: int | None = None) -> Dataset:
    """Let `decode` give blocks of `ResourcePlan.rows_per_block` rows, but for the last, whatever the shards' sizes.

    What is left of a block is a call of its own for the model. Ray Data takes the blocks apart and together on their
    way into decoding and makes no operator of it, which `Dataset.repartition` with a limited concurrency would be.

    Args:
        decoded: of `decode`.
        resources: those given to it.
        max_concurrency: given to it.
    """
    operator = StreamingRepartition(
        resources.rows_per_block,
        input_dependencies=[decoded._logical_plan.dag],
        strict=True,
        compute=TaskPoolStrategy(size=max_concurrency),
        ray_remote_args={"num_cpus": DECODE_CPUS},
    )
    return Dataset._from_parent(decoded, LogicalPlan(operator, decoded.context))


def max_useful_decoders(tasks: Sequence[ReadShard]) -> int | None:
    """Return the number of workers that decoding these shards can keep busy; None where image sizes are unknown."""
    if any(task.source.format not in _IMAGE_FORMATS for task in tasks):
        return None
    source = shard_source(tasks)
    by_bytes = (source.estimate_inmemory_data_size() or 0) / _WORTH_A_WORKER_BYTES
    return max(1, math.ceil(by_bytes), math.ceil(source.estimated_rows() / _WORTH_A_WORKER_ROWS))


def decode(
    rows: Dataset,
    config: ImageConfig,
    resources: ResourcePlan,
    describe: DescribeImages | None = None,
    max_concurrency: int | None = None,
    *,
    carry: bool = False,
    embedded: bool = False,
) -> Dataset:
    """Fetch, decode and describe the images of rows: DECODED rows, upright and at the model's size.

    Args:
        rows: READ rows.
        config: how to fetch and decode.
        resources: of the operator.
        describe: adds columns of image metadata; None adds none.
        max_concurrency: upper limit of concurrent tasks; None for one per CPU.
        carry: pass the encoded images on, see `PrepareImages`.
        embedded: pass on those of rows that name none.
    """
    fetcher: Fetcher = ImageFetcher(
        config.limits.max_image_bytes, allow_http=config.allow_http, page_limits=config.page_limits()
    )
    if config.outage_timeout_s:
        fetcher = PatientFetcher(fetcher, outage_policy(config.outage_timeout_s, config.run_id))
    fetch = FetchImages(fetcher, lenient=config.lenient)
    decoding = DecodeImages(
        config.transform,
        config.limits,
        fast_decode=config.fast_decode,
        run_id=config.run_id,
        lenient=config.lenient,
        row_timeout_s=config.row_timeout_s,
    )
    return rows.map_batches(
        PrepareImages(fetch, decoding, describe, carry=carry, join=config.join, embedded=embedded),
        batch_size=resources.rows_per_block,
        batch_format="pyarrow",
        num_cpus=DECODE_CPUS,
        compute=TaskPoolStrategy(size=max_concurrency),
        udf_modifying_row_count=False,
    )
