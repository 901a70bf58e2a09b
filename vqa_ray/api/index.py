"""Search of an index from Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from vqa_ray.api.engine import ImageOptions
from vqa_ray.api.images import ImageLike, image_cell
from vqa_ray.errors import RequestError, RowError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.index import reader
from vqa_ray.index.search.hits import HIT, Ranked, hits_table
from vqa_ray.index.search.query import decode_image, encoder_of, fetch_image, query_of
from vqa_ray.index.search.row_table import IndexRows
from vqa_ray.index.search.searcher import Searcher, SearchMethod
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import Encoder
from vqa_ray.storage.python_rows import python_rows
from vqa_ray.types import Image

if TYPE_CHECKING:
    import pandas


def open_index(
    uri: str,
    *,
    model: str | None = None,
    tags: str | None = None,
    version: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
    allow_http: bool = False,
    limits: ImageLimits | None = None,
) -> ImageIndex:
    """Open an index that `vqa-ray index` made.

    Args:
        uri: of the index.
        model: where the model is that the index was built with, if it is not where it was.
        tags: a finished run of `vqa-ray tag` over the same images, whose columns join the hits and can be filtered by.
        version: of the index; None for the latest.
        device: of the model, which the first search loads; see `vqa_ray.load`.
        dtype: of the model.
        allow_http: fetch images to search by from http:// and https://.
        limits: the limits of an image to search by.

    Raises:
        RequestError: no index is there, or its model is missing or another one.
    """
    index = reader.open_index(uri, version)
    checkpoint = encoder_of(index.version, model)
    options = ModelOptions.of(checkpoint, device=device, dtype=dtype)
    images = ImageOptions(limits or ImageLimits(), allow_http)
    return ImageIndex(index, IndexRows(index, tags), checkpoint, options, images)


@dataclass(frozen=True, slots=True)
class Hit:
    """An image that was found.

    Attributes:
        rank: from 1.
        score: how alike image and query are.
        image_id: of the image.
        image_uri: where the image is; None where it was embedded in a table or an archive.
        row: all columns of the hit, kept ones and tags included.
    """

    rank: int
    score: float
    image_id: str | None
    image_uri: str | None
    row: Mapping[str, Any] = field(repr=False)


class Hits(Sequence[Hit]):
    """The images that a search found, best first.

    Args:
        table: see `vqa_ray.index.search.hits.hits_table`.
        images: how many images could have been hits.
        method: how they were searched.
    """

    def __init__(self, table: pa.Table, images: int, method: SearchMethod) -> None:
        self._table = table
        self._hits = [Hit(**{name: row[name] for name in _OF_HIT}, row=row) for row in python_rows(table)]
        self.images = images
        self.method = method

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self._hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {hit!r}" for hit in self._hits)
        return f"{len(self)} hits of {self.images:,} images{lines}"

    def to_arrow(self) -> pa.Table:
        """Return all columns of the hits."""
        return self._table

    def to_pandas(self) -> pandas.DataFrame:
        """Return all columns of the hits as a DataFrame."""
        frame: pandas.DataFrame = self._table.to_pandas()
        return frame


class ImageIndex:
    """An opened index; made by `open_index`. To be used by one thread at a time.

    Args:
        index: the index to search.
        rows: its columns.
        checkpoint: its encoder.
        options: how the encoder is loaded.
        images: how images to search by are fetched and decoded.
    """

    def __init__(
        self,
        index: reader.Index,
        rows: IndexRows,
        checkpoint: Checkpoint,
        options: ModelOptions,
        images: ImageOptions,
    ) -> None:
        self._index = index
        self._rows = rows
        self._checkpoint = checkpoint
        self._options = options
        self._images = images
        self._searcher = Searcher(index, hold=True)
        self._encoder: Encoder | None = None

    def __len__(self) -> int:
        """Count the rows, those in error too."""
        return len(self._index)

    def __repr__(self) -> str:
        version = self._index.version
        return f"ImageIndex({self._index.uri!r}, version={version.number}, images={version.ok:,})"

    @property
    def columns(self) -> list[str]:
        """The columns that `filter` can name."""
        return [name for name in self._index.columns if name not in reader.LARGE]

    def search(
        self,
        text: str | None = None,
        image: ImageLike | None = None,
        *,
        top_k: int = 10,
        filter: str | None = None,
        exact: bool | None = None,
    ) -> Hits:
        """Find the images most like a text, an image, or both.

        Args:
            text: a description of the images wanted.
            image: an example of the images wanted: a path, URI, bytes, PIL image or array.
            top_k: hits wanted; fewer where there are no more images.
            filter: SQL condition on the columns of the index and of the tags: `category = 'mug'`.
            exact: compare each image, or (False) ask the approximate index; None takes what suits.

        Raises:
            RequestError: nothing to look for, an image that cannot be read, a condition that does not hold together.
        """
        if not (text or "").strip() and image is None:
            raise RequestError("nothing to search for: give text=…, image=… or both")
        if top_k < 1:
            raise RequestError(f"top_k is {top_k}; it must be at least 1")
        if not self._index.version.ok:
            raise RequestError(f"{self._index.uri}: nothing to search: none of its {len(self):,} rows has a vector")
        among = None if filter is None else self._rows.matching(filter)
        pixels = None if image is None else self._pixels(image)
        if self._encoder is None:
            self._encoder = self._options.load_encoder()
        found = self._searcher.search(query_of(self._encoder, text, pixels), top_k=top_k, filter=among, exact=exact)
        ranked = Ranked(found.positions, found.scores)
        return Hits(hits_table(ranked, self._rows.take(ranked.positions)), found.images, found.method)

    def to_arrow(self) -> pa.Table:
        """Return all rows without vectors and thumbnails, those in error too."""
        return self._index.rows()

    def _pixels(self, image: ImageLike) -> Image:
        try:
            cell = image_cell(image)
        except RowError as error:
            raise RequestError(f"image: {error}") from error
        if isinstance(cell, str):
            cell = fetch_image(cell, self._images.limits, allow_http=self._images.allow_http)
        if not isinstance(cell, bytes):
            raise RequestError(f"image is a {type(image).__name__}; wanted is a path, URI, bytes, PIL image or array")
        return decode_image(cell, self._checkpoint.transform, self._images.limits)


_OF_HIT = ("rank", "score", "image_id", "image_uri")
assert set(_OF_HIT) <= set(HIT.names)
