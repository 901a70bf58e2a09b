"""Previews of the rows of a run, made of the images, which are read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.thumbnail import Preview, preview
from vqa_ray.readers import Source
from vqa_ray.readers.reread import ReadRow, reread
from vqa_ray.report.chosen_rows import MOST_SHARDS
from vqa_ray.schema import ROW_BITS
from vqa_ray.storage.uri import redacted_uri

# Images in memory at a time.
_BATCH = 8


@dataclass(frozen=True, slots=True)
class RowPicture:
    """A picture of one input row, or the reason why it has none.

    Attributes:
        preview: the picture; None where there is none.
        reason: why there is none; empty where there is one.
    """

    preview: Preview | None = None
    reason: str = ""


def row_pictures(rows: Sequence[dict[str, Any]], source: Source | None, fetcher: ImageFetcher) -> dict[int, RowPicture]:
    """Read the pictures of rows, by source_key.

    Args:
        rows: with `source_key` and `image_uri`; the image of a row without a URI is read through `source`.
        source: the opened input of the run; None where every row has a URI.
        fetcher: of images with a URI.
    """
    by_uri = [(row["source_key"], row["image_uri"]) for row in rows if row.get("image_uri")]
    found = dict(_fetched(by_uri, fetcher))
    if source is not None:
        found.update(_reread([row["source_key"] for row in rows if not row.get("image_uri")], source, fetcher))
    return found


def _fetched(wanted: Sequence[tuple[int, str]], fetcher: ImageFetcher) -> Iterator[tuple[int, RowPicture]]:
    for first in range(0, len(wanted), _BATCH):
        batch = wanted[first : first + _BATCH]
        outcomes = fetcher.fetch_all([uri for _, uri in batch])
        for key, uri in batch:
            outcome = outcomes[uri]
            if isinstance(outcome, RowError):
                yield key, RowPicture(reason=f"{redacted_uri(uri)}: {outcome.message}")
            else:
                yield key, _small(outcome)


def _reread(keys: Sequence[int], source: Source, fetcher: ImageFetcher) -> Iterator[tuple[int, RowPicture]]:
    shards = list(dict.fromkeys(key >> ROW_BITS for key in keys))
    read = set(shards[:MOST_SHARDS])
    reason = f"the image is in a file that was not read again: at most {MOST_SHARDS} are"
    yield from ((key, RowPicture(reason=reason)) for key in keys if key >> ROW_BITS not in read)
    for key, row in reread(source, (key for key in keys if key >> ROW_BITS in read)):
        yield key, RowPicture(reason=row.message) if isinstance(row, RowError) else _of_read(row, fetcher)


def _of_read(row: ReadRow, fetcher: ImageFetcher) -> RowPicture:
    if row["image"] is not None:
        return _small(row["image"])
    try:
        return _small(fetcher.fetch(row["image_uri"]))
    except RowError as error:
        return RowPicture(reason=error.message)


def _small(data: bytes) -> RowPicture:
    try:
        return RowPicture(preview(data))
    except RowError as error:
        return RowPicture(reason=f"the image cannot be decoded: {error.message}")
