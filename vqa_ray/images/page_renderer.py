"""PDF documents → images of their pages, in a child process: a page that kills or blocks the renderer fails alone.

PDFium is not safe with threads, and documents of strangers may crash it. The child is one per process, bounded in
memory, and goes on from document to document.
"""

from __future__ import annotations

import atexit
import importlib.util
import io
import math
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

from PIL import Image as PillowImage

from vqa_ray.child_process import ChildDiedError, ChildProcess, serve
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.page_refs import PageLimits

MAX_DOCUMENT_BYTES = 512 * 2**20
"""Of a PDF file: its pages are images of their own, with limits of their own."""
# Address space of the child: room for a document and for a page of 100 megapixels, several times over.
_MEMORY_BYTES = 6 * 2**30
# The start of the child, and the table of contents of a document.
_OPEN_TIMEOUT_S, _GRACE_S = 120.0, 10
_POINTS_PER_INCH = 72
MISSING = "PDF documents are read with pypdfium2: pip install 'vqa-ray[documents]'"


@cache
def is_installed() -> bool:
    """Check whether PDF documents can be read here."""
    return importlib.util.find_spec("pypdfium2") is not None


class PageRenderer:
    """Renders pages of documents. Safe with threads, which wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child = ChildProcess("vqa_ray.images.page_renderer")

    def count(self, document: bytes) -> int:
        """Count the pages of a PDF file, which may be 0.

        Raises:
            RowError: `image_unsupported` for an encrypted file, or where pypdfium2 is missing; `image_undecodable`;
                `row_crashed` where the file kills or blocks the renderer.
        """
        with self._lock:
            return self._open(document)

    def render(self, document: bytes, pages: Iterable[int | None], limits: PageLimits) -> dict[int | None, Any]:
        """Render pages of a PDF file as PNG files; the page None is that of a document of one page.

        Args:
            document: the file.
            pages: from 1.
            limits: of a page.

        Returns:
            page → its file as bytes, or a `RowError`.
        """
        outcomes: dict[int | None, bytes | RowError] = {}
        with self._lock:
            opened: int | None = None
            for page in pages:
                try:
                    opened = self._open(document) if opened is None else opened
                    outcomes[page] = self._render(page, opened, limits)
                except RowError as error:
                    outcomes[page] = RowError(error.code, error.message)
                    opened = opened if self._child.is_running else None
        return outcomes

    def close(self) -> None:
        """End the child, if there is one."""
        self._child.close()

    def _open(self, document: bytes) -> int:
        if not is_installed():
            raise RowError(ErrorCode.IMAGE_UNSUPPORTED, MISSING)
        return int(self._ask(document, _OPEN_TIMEOUT_S, "opening the document"))

    def _render(self, page: int | None, pages: int, limits: PageLimits) -> bytes:
        if pages == 0:
            raise RowError(ErrorCode.IMAGE_MISSING, "the document has no pages")
        if page is None and pages > 1:
            raise RowError(ErrorCode.IMAGE_MISSING, f"the document has {pages} pages; name one of them: …#page=1")
        number = page or 1
        if number > pages:
            raise RowError(ErrorCode.IMAGE_MISSING, f"there is no page {number}; the document has {pages}")
        return bytes(self._ask((number, limits), limits.timeout_s, f"rendering page {number}"))

    def _ask(self, message: object, timeout_s: float, what: str) -> Any:
        try:
            outcome = self._child.ask(message, timeout_s)
        except ChildDiedError as error:
            raise RowError(ErrorCode.ROW_CRASHED, f"{what} {error}") from error
        if isinstance(outcome, RowError):
            raise outcome
        return outcome


@cache
def page_renderer() -> PageRenderer:
    """Return the renderer of this process."""
    renderer = PageRenderer()
    atexit.register(renderer.close)
    return renderer


class _Documents:
    """The child's side: takes a document first, then (page, limits) of it, and then another document."""

    def __init__(self) -> None:
        self._data = b""
        self._document: Any = None

    def __call__(self, message: bytes | tuple[int, PageLimits]) -> int | bytes | RowError:
        """Return the number of pages to a document, and a PNG file to a page."""
        import pypdfium2

        # A child whose parent has died over a page must not work on it for ever.
        signal.alarm(int(_OPEN_TIMEOUT_S if isinstance(message, bytes) else message[1].timeout_s) + _GRACE_S)
        try:
            if isinstance(message, bytes):
                return self._open(message)
            return self._render(*message)
        except RowError as error:
            return error
        except MemoryError:
            return RowError(ErrorCode.IMAGE_TOO_LARGE, "PDF: not enough memory to render it")
        except (pypdfium2.PdfiumError, ValueError, OverflowError) as error:
            return RowError(ErrorCode.IMAGE_UNDECODABLE, f"PDF: {error}")
        finally:
            signal.alarm(0)

    def _open(self, data: bytes) -> int:
        import pypdfium2

        if self._document is not None:
            self._document.close()
            self._document = None
        pdfium = pypdfium2.raw
        # PdfDocument takes a document without pages for one that does not open, with the error of an earlier one.
        opened = pdfium.FPDF_LoadMemDocument64(data, len(data), None)
        if not opened and pdfium.FPDF_GetLastError() == pdfium.FPDF_ERR_PASSWORD:
            raise RowError(ErrorCode.IMAGE_UNSUPPORTED, "PDF: is encrypted, and opens with a password alone")
        if not opened:
            raise RowError(ErrorCode.IMAGE_UNDECODABLE, "PDF: is damaged, and cannot be opened")
        # PDFium reads the bytes in place.
        self._data, self._document = data, pypdfium2.PdfDocument(opened)
        if self._document.get_formtype():
            self._document.init_forms()
        return max(0, len(self._document))

    def _render(self, number: int, limits: PageLimits) -> bytes:
        page = self._document[number - 1]
        try:
            scale = scale_of(page.get_size(), limits)
            bitmap = page.render(scale=scale, rev_byteorder=True, draw_annots=True, may_draw_forms=True)
            file = io.BytesIO()
            PillowImage.fromarray(bitmap.to_numpy()[:, :, :3]).save(file, "PNG", compress_level=1)
            bitmap.close()
            return file.getvalue()
        finally:
            page.close()


def scale_of(size: tuple[float, float], limits: PageLimits) -> float:
    """Return pixels per point for a page: those of the limits' dpi, or as many as the other limits allow.

    Raises:
        RowError: the page has no area.
    """
    width, height = size
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise RowError(ErrorCode.IMAGE_UNDECODABLE, f"PDF: the page has no area ({width:g}×{height:g} points)")
    # A little less, so that rounding up does not add a pixel to a side that has a whole number of them.
    scale = limits.dpi / _POINTS_PER_INCH * (1 - 1e-9)
    most = min(math.sqrt(limits.max_pixels / width / height), limits.max_side / max(width, height))
    if scale > most:
        # Sides are rounded up to whole pixels.
        scale = most
        while _pixels(width, scale) * _pixels(height, scale) > limits.max_pixels and scale > most / 2:
            scale *= 0.999
    return scale


def _pixels(points: float, scale: float) -> int:
    return math.ceil(points * scale)


def main() -> None:
    """Run the child."""
    import resource

    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(_Documents())


if __name__ == "__main__":
    main()
