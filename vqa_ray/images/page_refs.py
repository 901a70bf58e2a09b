"""Pages of PDF documents as images: how a reference names one, and how large it becomes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.storage.uri import scheme_of

DEFAULT_DPI = 150
MIN_DPI, MAX_DPI = 10, 1200
_PAGE = re.compile(r"#page=([1-9]\d{0,8})$")
_PART = re.compile(r"([1-9]\d{0,8})(?:(-)([1-9]\d{0,8})?)?")


@dataclass(frozen=True, slots=True)
class PageLimits:
    """The size of rendered pages.

    Attributes:
        dpi: pixels per inch; fewer where a page would have more pixels than allowed.
        max_pixels: of a page, width × height.
        max_side: pixels of its longer side.
        timeout_s: a page that takes longer is a `row_crashed` row.
    """

    dpi: int = DEFAULT_DPI
    max_pixels: int = 100_000_000
    max_side: int = 65_535
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages of every document: `1-3,7,10-`.

    Attributes:
        parts: (first, last) pages from 1; a last one of None is that of the document.
    """

    parts: tuple[tuple[int, int | None], ...] = ((1, None),)

    @classmethod
    def parse(cls, text: str) -> PageRange:
        """Read a list of pages and ranges.

        Raises:
            RequestError: it is none.
        """
        parts: list[tuple[int, int | None]] = []
        for part in text.split(","):
            found = _PART.fullmatch(part.strip())
            last = None if found is None else int(found[3]) if found[3] else None if found[2] else int(found[1])
            if found is None or (last is not None and last < int(found[1])):
                raise RequestError(f"--pages {text}: {part.strip()!r} is no page or range of pages; wanted 1-3,7,10-")
            parts.append((int(found[1]), last))
        return cls(tuple(parts))

    def of(self, pages: int) -> Iterator[int]:
        """Yield those of a document of so many pages, ascending, each once."""
        done = 0
        for first, last in sorted(self.parts, key=lambda part: part[0]):
            start, stop = max(first, done + 1), pages if last is None else min(last, pages)
            yield from range(start, stop + 1)
            done = max(done, stop)

    def __str__(self) -> str:
        return ",".join(
            f"{first}-" if last is None else str(first) if last == first else f"{first}-{last}"
            for first, last in self.parts
        )


def page_uri(document: str, page: int) -> str:
    """Return the reference to a page, from 1."""
    return f"{document}#page={page}"


def split_page(uri: str) -> tuple[str, int | None] | None:
    """Take a reference to a PDF apart: (document, page); None for any other image.

    The page is None where the reference names none, as that of a document of one page need not.
    """
    found = _PAGE.search(uri)
    document = uri[: found.start()] if found else uri
    path = document.partition("?")[0] if scheme_of(document) in ("http", "https") else document
    if path[-4:].lower() != ".pdf":
        return None
    return document, int(found[1]) if found else None


def is_pdf(head: bytes) -> bool:
    """Check whether the first bytes of a file are those of a PDF, which may begin with something else."""
    return b"%PDF-" in head[:1024]


def document_of(uri: str) -> str:
    """Return the file that a reference leads to: that of a page is its document."""
    parts = split_page(uri)
    return uri if parts is None else parts[0]
