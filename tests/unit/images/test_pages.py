"""Pages of PDF documents as images: references, resolution, and documents that are broken or hostile."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.documents import ENCRYPTION, LETTER, coloured, pdf
from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.page_refs import PageLimits, PageRange, document_of, split_page
from vqa_ray.images.page_renderer import PageRenderer, page_renderer, scale_of

pytest.importorskip("pypdfium2")
WHITE = (1.0, 1.0, 1.0)


def opened(data: object) -> Image.Image:
    assert isinstance(data, bytes), data
    return Image.open(io.BytesIO(data))


def failure(outcome: object) -> RowError:
    assert isinstance(outcome, RowError)
    return outcome


def test_references_name_a_document_and_a_page() -> None:
    assert split_page("s3://b/a#1.pdf#page=3") == ("s3://b/a#1.pdf", 3)
    assert split_page("https://h/x.PDF?sig=1#page=12") == ("https://h/x.PDF?sig=1", 12)
    assert split_page("/a/x.pdf") == ("/a/x.pdf", None)
    assert split_page("/a/x.jpg#page=3") is None
    assert split_page("/a/x.pdf#page=0") is None
    assert document_of("/a/x.pdf#page=3") == "/a/x.pdf"
    assert document_of("/a/x.jpg") == "/a/x.jpg"


def test_ranges_of_pages() -> None:
    assert list(PageRange.parse("1-3,7,10-,2").of(12)) == [1, 2, 3, 7, 10, 11, 12]
    assert list(PageRange.parse("5-").of(4)) == []
    assert str(PageRange.parse(" 1-3, 7,10-")) == "1-3,7,10-"
    for wrong in ("", "0", "3-1", "a", "1-2-3", "-4", "1,,2"):
        with pytest.raises(RequestError, match="is no page or range of pages; wanted 1-3,7,10-"):
            PageRange.parse(wrong)


def test_a_reference_gives_its_page(tmp_path: Path) -> None:
    document = tmp_path / "x.pdf"
    document.write_bytes(coloured(4))
    outcomes = ImageFetcher(10**6).fetch_all([f"{document}#page={n}" for n in (2, 4, 5)])
    half, full, beyond = outcomes.values()
    assert opened(half).size == (1275, 1650)
    assert opened(half).getpixel((600, 600)) == (128, 0, 0)
    assert opened(full).getpixel((600, 600)) == (255, 0, 0)
    assert failure(beyond).code == ErrorCode.IMAGE_MISSING
    assert failure(beyond).message == "there is no page 5; the document has 4"


def test_a_document_of_one_page_needs_no_page(tmp_path: Path) -> None:
    one, many, photo = (tmp_path / name for name in ("one.pdf", "many.pdf", "photo.pdf"))
    one.write_bytes(coloured(1))
    many.write_bytes(coloured(3))
    Image.new("RGB", (5, 4)).save(photo, "PNG")
    fetched = ImageFetcher(10**6).fetch_all([str(one), str(many), str(photo)])
    assert opened(fetched[str(one)]).size == (1275, 1650)
    assert failure(fetched[str(many)]).message == "the document has 3 pages; name one of them: …#page=1"
    assert fetched[str(photo)] == photo.read_bytes()


def test_resolution() -> None:
    def size(limits: PageLimits, width: float, height: float) -> tuple[int, int]:
        return opened(page_renderer().render(pdf([(width, height, WHITE)]), [1], limits)[1]).size

    assert size(PageLimits(dpi=72), *LETTER) == (612, 792)
    assert size(PageLimits(dpi=300), *LETTER) == (2550, 3300)
    width, height = size(PageLimits(dpi=300, max_pixels=10_000), *LETTER)
    assert 9_000 < width * height <= 10_000
    assert max(size(PageLimits(dpi=300, max_side=500), *LETTER)) == 500


@pytest.mark.parametrize("size", [(14_400.0, 14_400.0), (1.0, 14_400.0), (1e6, 1e6)])
def test_pages_are_bounded_before_they_are_rendered(size: tuple[float, float]) -> None:
    limits = PageLimits(dpi=1200, max_pixels=100_000, max_side=1_000)
    scale = scale_of(size, limits)
    width, height = (int(np.ceil(side * scale)) for side in size)
    assert width * height <= limits.max_pixels
    assert max(width, height) <= limits.max_side + 1


@pytest.mark.parametrize("size", [(0.0, 10.0), (-1.0, 10.0), (float("inf"), 10.0), (float("nan"), 1.0)])
def test_pages_without_an_area(size: tuple[float, float]) -> None:
    with pytest.raises(RowError, match="image_undecodable: PDF: the page has no area"):
        scale_of(size, PageLimits())


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        (pdf([(*LETTER, WHITE)], trailer=ENCRYPTION), ErrorCode.IMAGE_UNSUPPORTED, "is encrypted, and opens with"),
        (b"%PDF-1.4\nnothing else", ErrorCode.IMAGE_UNDECODABLE, "is damaged, and cannot be opened"),
        (coloured(3)[:200], ErrorCode.IMAGE_UNDECODABLE, "is damaged, and cannot be opened"),
        (pdf([]), ErrorCode.IMAGE_MISSING, "the document has no pages"),
        (pdf([(*LETTER, WHITE)], claimed=7), ErrorCode.IMAGE_UNDECODABLE, "Failed to load page"),
    ],
    ids=["encrypted", "damaged", "cut off", "no pages", "claimed page"],
)
def test_documents_that_cannot_be_read(document: bytes, code: ErrorCode, message: str) -> None:
    page = 7 if b"/Count 7" in document else 1
    outcome = failure(page_renderer().render(document, [page], PageLimits())[page])
    assert outcome.code == code
    assert message in (outcome.message or "")
    assert page_renderer().count(coloured(2)) == 2


def test_a_renderer_that_dies_fails_one_page() -> None:
    renderer = PageRenderer()
    assert renderer.count(coloured(2)) == 2
    child = renderer._child._child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    outcomes = renderer.render(coloured(3), [1, 2], PageLimits())
    renderer.close()
    assert failure(outcomes[1]).code == ErrorCode.ROW_CRASHED
    assert failure(outcomes[1]).message == "opening the document killed its process (signal 9)"
    assert opened(outcomes[2]).size == (1275, 1650)


def test_a_page_that_takes_too_long_fails_alone() -> None:
    busy = pdf([(*LETTER, WHITE), (*LETTER, WHITE)], drawn={1: "0 0 612 792 re f\n" * 300_000})
    outcomes = page_renderer().render(busy, [1, 2], PageLimits(timeout_s=3.0))
    assert failure(outcomes[1]).code == ErrorCode.ROW_CRASHED
    assert failure(outcomes[1]).message == "rendering page 1 took more than 3 s"
    assert opened(outcomes[2]).size == (1275, 1650)
