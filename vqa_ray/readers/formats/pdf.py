"""PDF documents: a page is a row. Only the pages are counted here; they are rendered where images are fetched."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.page_refs import PageRange, page_uri
from vqa_ray.images.page_renderer import MAX_DOCUMENT_BYTES, MISSING, is_installed, page_renderer
from vqa_ray.readers.formats.images import columns_of_paths, row_maker
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.row_builder import Row
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import InputConfig, OpenedInput, Shard, Source, request_error
from vqa_ray.storage.filesystem import read_bytes

MAX_PAGES = 100_000
"""Of a document that are read; a damaged one may claim any number."""
_FRAGMENT = re.compile(r"page=(\d+)")


def open_pdf(config: InputConfig, listing: Listing) -> OpenedInput:
    """One shard a document; its pages are counted when it is read.

    Raises:
        RequestError: see `columns_of_paths`; or pypdfium2 is missing, or the URI names something else than a page.
    """
    if not is_installed():
        raise request_error(f"{listing.uri}: {MISSING}")
    if listing.fragment and not _FRAGMENT.fullmatch(listing.fragment):
        raise request_error(f"{listing.uri}: #{listing.fragment} names no page; wanted #page=3")
    files = listing.of("pdf")
    layout, columns, kept = columns_of_paths(config, listing, files, "PDF documents")
    shards = tuple(Shard(i, entry.uri, size_bytes=entry.size_bytes) for i, entry in enumerate(files))
    return OpenedInput(shards, layout, kept, columns=columns, revision=listing.fragment)


def read_pdf(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Give a row per wanted page, or one row that says why there is none."""
    name = shard.uri.removeprefix(source.root.rstrip("/") + "/")
    make = row_maker(source, source.root)
    try:
        pages = _pages(source, shard.uri)
    except RowError as error:
        row = make(name)
        row.error = row.error or RowError(error.code, f"{name}: {error.message}")
        return iter([(0, row)])
    return numbered(pages, lambda page: make(name, page_uri("", page)), wanted)


def _pages(source: Source, uri: str) -> list[int]:
    """Return the wanted pages of a document.

    Raises:
        RowError: it cannot be read, or there are none, or too many.
        OSError: as the store says.
    """
    chosen = source.config.pages or PageRange()
    if named := _FRAGMENT.fullmatch(source.config.uri.rpartition("#")[2]):
        chosen = PageRange(((int(named[1]), int(named[1])),))
    try:
        count = page_renderer().count(read_bytes(uri, MAX_DOCUMENT_BYTES))
    except FileNotFoundError as error:
        raise RowError(ErrorCode.IMAGE_MISSING, "nothing is stored there any more") from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise RowError(ErrorCode.IMAGE_TOO_LARGE, f"more than {MAX_DOCUMENT_BYTES} bytes") from error
        raise
    if not count:
        raise RowError(ErrorCode.IMAGE_MISSING, "the document has no pages")
    pages = list(chosen.of(count))
    if not pages:
        raise RowError(ErrorCode.IMAGE_MISSING, f"the document has {count} pages; --pages {chosen} names none of them")
    if len(pages) > MAX_PAGES:
        raise RowError(ErrorCode.IMAGE_TOO_LARGE, f"{len(pages)} pages; at most {MAX_PAGES} are read, see --pages")
    return pages
