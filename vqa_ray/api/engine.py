"""A model with all that brings images to its size: the stages of the jobs in this process, without Ray."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import TypeAlias, TypeVar

import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import Encoder, VqaModel
from vqa_ray.models.registry import Task
from vqa_ray.process import torch_threads_kept
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.prepare import PrepareImages
from vqa_ray.types import ImageTransform

# Bytes of the header of an uncompressed image.
_HEADER_BYTES = 64

T = TypeVar("T")
Stage: TypeAlias = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Settings of fetching and decoding images.

    Attributes:
        limits: the limits of an image: bytes, pixels, sides, frames.
        allow_http: whether http:// and https:// images are fetched.
        fast_decode: whether JPEG may be decoded at a fraction of its size that still covers the model's.
        batch_size: images that go to the model at once, at least 1.
    """

    limits: ImageLimits = field(default_factory=ImageLimits)
    allow_http: bool = False
    fast_decode: bool = False
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RequestError(f"batch_size is {self.batch_size}; it must be at least 1")


@dataclass(frozen=True)
class LoadedOptions(ModelOptions):
    """The options of a model that is loaded already, for the stages that share it."""

    model: VqaModel | None = None
    encoder: Encoder | None = None

    @classmethod
    def for_task(cls, options: ModelOptions, checkpoint: Checkpoint, task: Task) -> LoadedOptions:
        """Load a model for a task.

        Raises:
            RequestError: its family cannot do that, or it cannot be loaded.
        """
        checkpoint.family.require(task, checkpoint.reference)
        opened = replace(options, revisions=checkpoint.revisions, opened=checkpoint)
        given = {each.name: getattr(opened, each.name) for each in fields(ModelOptions)}
        if task == "embed":
            return cls(**given, encoder=opened.load_encoder())
        return cls(**given, model=opened.load())

    def load(self) -> VqaModel:
        """Return the model."""
        assert self.model is not None
        return self.model

    def load_encoder(self) -> Encoder:
        """Return the encoder."""
        assert self.encoder is not None
        return self.encoder


class Engine:
    """READ tables → output tables, a batch at a time; one thread at a time.

    Args:
        transform: the size that the model wants.
        options: how images are fetched and decoded.
        describe: adds columns to images, see `PrepareImages`.
    """

    def __init__(
        self, transform: ImageTransform, options: ImageOptions, describe: DescribeImages | None = None
    ) -> None:
        limits = options.limits
        # Pixels from memory come uncompressed.
        raw = replace(limits, max_image_bytes=max(limits.max_image_bytes, 3 * limits.max_image_pixels + _HEADER_BYTES))
        fetch = FetchImages(ImageFetcher(limits.max_image_bytes, allow_http=options.allow_http))
        # A name of its own: notes of other processes that died over a batch do not concern this one.
        decode = DecodeImages(transform, raw, fast_decode=options.fast_decode, run_id=f"api-{uuid.uuid4().hex}")
        self._prepare = PrepareImages(fetch, decode, describe)
        self._batch_size = options.batch_size
        self._lock = Lock()

    def run(self, rows: Iterable[pa.Table], stage: Callable[[pa.Table], T]) -> Iterator[T]:
        """Yield what a stage makes of READ tables, a batch of images at a time, in order."""
        for table in rows:
            for start in range(0, max(table.num_rows, 1), self._batch_size):
                with self._lock:
                    with torch_threads_kept():
                        decoded = self._prepare(table.slice(start, self._batch_size))
                    result = stage(decoded)
                yield result
