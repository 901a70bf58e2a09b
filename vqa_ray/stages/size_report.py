"""Report the sizes in which a model gets its images, beside those of their files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import pyarrow as pa

from vqa_ray.schema import is_ok
from vqa_ray.stages.process_report import ProcessReport

# Distinct pairs of sizes that a process counts; the first ones are a sample.
_MOST = 2_000

Size: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class ImageSizes:
    """How many images had which sizes.

    Attributes:
        images: ((height, width) that the model gets, (height, width) of the file) → images.
    """

    images: Counter[tuple[Size, Size]] = field(default_factory=Counter)

    def __add__(self, other: ImageSizes) -> ImageSizes:
        return ImageSizes(self.images + other.images)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read the counts that a `SizeReport` has stored."""
        return cls(Counter({((a, b), (c, d)): images for a, b, c, d, images in json.loads(data)}))

    def to_json(self) -> bytes:
        """Write the counts."""
        return json.dumps([[*seen, *source, images] for (seen, source), images in self.images.items()]).encode()


class SizeReport:
    """Counts the images of one process by size, and stores the counts for the driver of the run.

    Args:
        put: stores bytes under a key, for all processes of the run.
        prefix: of the keys of the run.
    """

    def __init__(self, put: Callable[[str, bytes], Any], prefix: str) -> None:
        self._report = ProcessReport(put, prefix)
        self._sizes = ImageSizes()

    def add(self, table: pa.Table) -> None:
        """Count the images of a DECODED table."""
        columns = (table[name].to_numpy() for name in ("height", "width", "source_height", "source_width"))
        ok = is_ok(table)
        counts = self._sizes.images
        for height, width, tall, wide in zip(*(column[ok].astype(int).tolist() for column in columns), strict=True):
            pair = ((height, width), (tall, wide))
            if pair in counts or len(counts) < _MOST:
                counts[pair] += 1
        self._report.store(self._sizes.to_json)
