"""Verification of candidates by a VQA model, with the stages of `retrieve` in this process and without Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.page_refs import split_page
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import VqaModel
from vqa_ray.predicates.predicate import Predicate
from vqa_ray.process import torch_threads_kept
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.storage.uri import redacted_uri

BATCH = 32


class CandidateImages(Protocol):
    """The images of candidates by position, such as `vqa_ray.index.source_images.SourceImages`."""

    uri: str

    def read(self, positions: Sequence[int]) -> pa.Table:
        """READ rows of these positions, in order."""
        ...

    def hashes(self, positions: Sequence[int]) -> list[str | None]:
        """Return the sha256 of each image as it was embedded."""
        ...


@dataclass(frozen=True, slots=True)
class Verification:
    """What candidates must fit, and who says so.

    Attributes:
        model: which one, and how it is loaded and asked.
        predicate: what must hold.
        limits: what an image may cost.
        allow_http: whether images are fetched from http:// and https://.
        loaded: that model, where it is loaded already.
    """

    model: ModelOptions
    predicate: Predicate
    limits: ImageLimits = field(default_factory=ImageLimits)
    allow_http: bool = False
    loaded: VqaModel | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """Verdicts on candidates, in their order.

    Attributes:
        table: RETRIEVE rows of the candidates that were verified: the first ones.
        matched, rejected, failed: the number of matches, of mismatches, and of images that cannot be read again.
    """

    table: pa.Table
    matched: int
    rejected: int
    failed: int


class Verifier:
    """Asks a VQA model about candidates. The model is loaded for the first candidate.

    Args:
        check: what candidates must match.
        images: the images of the candidates.
    """

    def __init__(self, check: Verification, images: CandidateImages) -> None:
        self._check = check
        self._images = images
        self._fetch = FetchImages(ImageFetcher(check.limits.max_image_bytes, allow_http=check.allow_http))
        # Equal for all searches of an index: a batch that killed the process is decoded in isolation the next time.
        self._run_id = f"search-{hashlib.sha256(images.uri.encode()).hexdigest()[:16]}"

    def __call__(self, positions: Sequence[int], enough: int) -> Verified:
        """Ask about one batch of candidates after the other, until `enough` match or none is left.

        Args:
            positions: of the candidates in the index, best first.
            enough: how many matches are wanted, at least 1.

        Raises:
            ModelLoadError: the model cannot be loaded.
        """
        tables = [schema.RETRIEVE.empty_table()]
        matched = 0
        for start in range(0, len(positions), BATCH):
            tables.append(self._ask(self._pixels(positions[start : start + BATCH])))
            matched += pc.sum(tables[-1]["match"]).as_py() or 0
            if matched >= enough:
                break
        table = pa.concat_tables([each.select(schema.RETRIEVE.names) for each in tables])
        failed = pc.sum(pc.not_equal(table["status"], schema.STATUS_OK)).as_py() or 0
        return Verified(table, matched, table.num_rows - matched - failed, failed)

    @cached_property
    def _decode(self) -> DecodeImages:
        return DecodeImages(self._check.model.checkpoint.transform, self._check.limits, run_id=self._run_id)

    @cached_property
    def _ask(self) -> RetrieveStage:
        check = self._check
        free = check.model.checkpoint.family.is_generative
        return RetrieveStage(RetrieveConfig(check.loaded or check.model, check.predicate, free_answers=free))

    def _pixels(self, positions: Sequence[int]) -> pa.Table:
        """Return the candidates as a DECODED table."""
        fetched = _as_embedded(self._fetch(self._images.read(positions)), self._images.hashes(positions))
        with torch_threads_kept():
            return self._decode(fetched)


def _as_embedded(table: pa.Table, hashes: Sequence[str | None]) -> pa.Table:
    """Make error rows of READ rows whose image is another one than was embedded.

    The bytes of a PDF page depend on its resolution and its renderer, so pages are not compared.
    """
    failures: dict[int, RowError] = {}
    for row, (image, wanted) in enumerate(zip(table["image"], hashes, strict=True)):
        data = image.as_py()
        if split_page(table["image_uri"][row].as_py() or ""):
            continue
        if data is not None and hashlib.sha256(data).hexdigest() != wanted:
            named = table["image_uri"][row].as_py() or "the image"
            message = f"{redacted_uri(named)}: is another image than was embedded"
            failures[row] = RowError(ErrorCode.IMAGE_MISSING, message)
    return schema.mark_failed(table, failures)
