"""A gallery: one self-contained HTML page of cards."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from vqa_ray.errors import RowError
from vqa_ray.images.thumbnail import preview
from vqa_ray.report.card import Card, Outline
from vqa_ray.report.templates import environment
from vqa_ray.storage.atomic import write_bytes_atomic

DEFAULT_CARDS = 240
_TAGS_TO_FILTER_BY = 60


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of the table of measures: a ratio in 0..1 over `n` answers with known truth."""

    name: str
    value: float
    n: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A number in the header, formatted."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a gallery.

    Attributes:
        title: of the page.
        about: one sentence that names the model and the images.
        facts: counts.
        measures: of the quality of the answers, where the truth is known.
        total: images in all; the page says so when it shows fewer.
    """

    title: str
    about: str
    total: int
    facts: tuple[Fact, ...] = ()
    measures: tuple[Measure, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownCard:
    """A card for a template: its picture as a `data:` URI, and outlines over it."""

    card: Card
    thumbnail: str | None
    outlines: tuple[Outline, ...] = ()


def render_gallery(header: Header, cards: Iterable[Card], limit: int = DEFAULT_CARDS) -> str:
    """Render the page as HTML; all text is escaped.

    Args:
        header: of the page.
        cards: an iterable that is read up to `limit`; only their thumbnails are kept.
        limit: cards to show, at least 1.

    Raises:
        RequestError: Jinja2 is not installed.
        ValueError: `limit` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"a gallery of {limit} cards: at least 1 is needed")
    template = environment("vqa_ray.report", "a gallery").get_template("gallery.html.j2")
    shown = [shown_card(card) for card in islice(cards, limit)]
    tags = Counter(tag for each in shown for tag in each.card.tags)
    statuses = Counter(each.card.status for each in shown)
    return template.render(
        header=header,
        shown=shown,
        tags=sorted(tags.most_common(_TAGS_TO_FILTER_BY)),
        statuses=[(status, statuses[status]) for status in ("right", "wrong", "answered", "error") if statuses[status]],
    )


def write_gallery(uri: str, header: Header, cards: Iterable[Card], limit: int = DEFAULT_CARDS) -> None:
    """Render a gallery into one file, atomically."""
    page = render_gallery(header, cards, limit)
    # Names may hold lone surrogates, which UTF-8 cannot encode.
    write_bytes_atomic(uri, page.encode("utf-8", "replace"))


def shown_card(card: Card) -> ShownCard:
    """Make the thumbnail of a card, where it has a picture that can be decoded."""
    try:
        made = None if card.image is None else preview(card.image)
    except RowError:
        made = None
    if made is None:
        return ShownCard(replace(card, image=None), None)
    thumbnail = f"data:image/jpeg;base64,{base64.b64encode(made.jpeg).decode()}"
    return ShownCard(replace(card, image=None), thumbnail, card.outlines(card.image_size or made.size))
