"""What a VQA model says of the candidates of a search: the stages of `retrieve`, in this process and without Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decode import ImageLimits
from vqa_ray.models.load import ModelOptions, load_transform
from vqa_ray.models.protocols import VqaModel
from vqa_ray.predicates.predicate import Predicate
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.retrieve import RetrieveStage
from vqa_ray.storage.filesystem import redacted_uri

BATCH = 32


class ImageSource(Protocol):
    """Where candidates' images come from: an index."""

    uri: str

    def images(self, positions: Sequence[int]) -> pa.Table:
        """READ rows of these positions, in their order."""
        ...

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """These columns of the rows, among them `sha256`, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """What candidates must fit, and who says so.

    Attributes:
        model: which one, and how it is loaded and asked.
        predicate: what must hold.
        free_answers: whether the model writes its answers.
        limits: what an image may cost.
        allow_http: whether images are fetched from http:// and https://.
        loaded: that model, where it is loaded already.
    """

    model: ModelOptions
    predicate: Predicate
    free_answers: bool = False
    limits: ImageLimits = field(default_factory=ImageLimits)
    allow_http: bool = False
    loaded: VqaModel | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of candidates, in their order.

    Attributes:
        table: RETRIEVE rows of the candidates that were looked at: the first ones.
        matched, rejected, failed: how many of them fit, do not, or have no image that can be read again.
    """

    table: pa.Table
    matched: int
    rejected: int
    failed: int


class Verifier:
    """Asks a VQA model, which it loads unless it is.

    Args:
        check: what is asked of it.
        images: where the images of candidates come from.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(self, check: Check, images: ImageSource) -> None:
        self._images = images
        # The same for every search of an index: a batch that killed the process before is decoded in isolation.
        run_id = f"search-{hashlib.sha256(images.uri.encode()).hexdigest()[:16]}"
        self._fetch = FetchImages(check.limits, allow_http=check.allow_http)
        self._decode = DecodeImages(load_transform(check.model.reference), check.limits, run_id=run_id)
        self._ask = RetrieveStage(check.loaded or check.model, check.predicate, free_answers=check.free_answers)

    def __call__(self, positions: Sequence[int], enough: int) -> Verified:
        """Look at candidates one batch after the other, until `enough` of them fit or there are no more.

        Args:
            positions: candidates in the index, best first; at least one.
            enough: how many that fit are wanted, at least 1.
        """
        tables: list[pa.Table] = []
        matched = 0
        for start in range(0, len(positions), BATCH):
            tables.append(self._ask(self._pixels(positions[start : start + BATCH])))
            matched += pc.sum(tables[-1]["match"]).as_py() or 0
            if matched >= enough:
                break
        table = pa.concat_tables([each.select(schema.RETRIEVE.names) for each in tables])
        failed = pc.sum(pc.not_equal(table["status"], schema.STATUS_OK)).as_py() or 0
        return Verified(table, matched, table.num_rows - matched - failed, failed)

    def _pixels(self, positions: Sequence[int]) -> pa.Table:
        """The candidates as a DECODED table."""
        fetched = self._fetch(self._images.images(positions))
        hashes = self._images.take(positions, ["sha256"])["sha256"].to_pylist()
        with _threads_kept():
            return self._decode(_as_embedded(fetched, hashes))


def _as_embedded(table: pa.Table, hashes: Sequence[str | None]) -> pa.Table:
    """READ rows, of which those that bring another image than was embedded are in error."""
    columns = {field.name: table[field.name].to_pylist() for field in schema.STATUS}
    for row, (image, wanted) in enumerate(zip(table["image"], hashes, strict=True)):
        data = image.as_py()
        if data is not None and hashlib.sha256(data).hexdigest() != wanted:
            named = table["image_uri"][row].as_py() or "the image"
            changed = RowError(ErrorCode.IMAGE_MISSING, f"{redacted_uri(named)}: is another image than was embedded")
            for name, value in zip(columns, (schema.STATUS_ERROR, str(changed.code), changed.message), strict=True):
                columns[name][row] = value
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, pa.string()))
    return table


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Decoding leaves torch one thread, which suits Ray's tasks; here the model wants those that there were."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def verify(check: Check, images: ImageSource, positions: Sequence[int], enough: int) -> Verified:
    """As `Verifier`, for a single search; the model is not loaded where there are no candidates."""
    if not positions:
        return Verified(schema.RETRIEVE.empty_table(), 0, 0, 0)
    return Verifier(check, images)(positions, enough)
