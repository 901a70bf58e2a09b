"""The options of documents: which pages are read, and at what resolution."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator

from vqa_ray.images.page_refs import DEFAULT_DPI, MAX_DPI, MIN_DPI, PageRange
from vqa_ray.jobs.spec.field import Spec, option


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_pages(value: str) -> str:
    return str(PageRange.parse(value))


class DocumentGroup(Spec):
    """PDF documents, whose pages are images."""

    group: ClassVar[str] = "Input"

    pages: Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_pages)] | None = option(
        "Pages to read of every PDF document of the input: 1-3,7,10-. Default: all.",
        None,
        unit="PAGES",
        omit_default_from_fingerprint=True,
    )
    dpi: int = option(
        "Resolution of PDF pages, less where a page would exceed --max-image-pixels.",
        DEFAULT_DPI,
        unit="DPI",
        ge=MIN_DPI,
        le=MAX_DPI,
        omit_default_from_fingerprint=True,
    )

    def page_range(self) -> PageRange | None:
        """Return `pages`; None for all."""
        return None if self.pages is None else PageRange.parse(self.pages)
