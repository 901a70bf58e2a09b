"""A gallery: one HTML page of cards that needs nothing beside itself."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from itertools import islice

from vqa_ray.errors import RequestError
from vqa_ray.report.card import Card, thumbnail, upright_size
from vqa_ray.storage.filesystem import write_bytes_atomic

DEFAULT_CARDS = 240
_TAGS_TO_FILTER_BY = 60


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table of measures: a ratio in 0..1 over `n` judged answers."""

    name: str
    value: float
    n: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A number in the header, as it is to be read."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Header:
    """What stands above the cards.

    Attributes:
        title: of the page.
        about: one sentence: which model saw which images.
        facts: counts.
        measures: how good the answers are, where the truth is known.
        total: how many images there are; the page says so when it shows fewer.
    """

    title: str
    about: str
    total: int
    facts: tuple[Fact, ...] = ()
    measures: tuple[Measure, ...] = ()


@dataclass(frozen=True, slots=True)
class _Outline:
    """A box over a thumbnail, in percent of it."""

    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Shown:
    card: Card
    thumbnail: str | None
    outlines: tuple[_Outline, ...] = ()


def render_gallery(header: Header, cards: Iterable[Card], limit: int = DEFAULT_CARDS) -> str:
    """The page as HTML text. All text is escaped, whatever it holds.

    Args:
        header: what stands above the cards.
        cards: read one at a time, no further than `limit`; only their thumbnails are kept.
        limit: how many cards to show, at least 1.

    Raises:
        RequestError: Jinja2 is not installed.
        ValueError: `limit` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"a gallery of {limit} cards: at least 1 is needed")
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise RequestError("a gallery needs Jinja2, which is not installed: pip install 'vqa-ray[report]'") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files("vqa_ray.report").joinpath("gallery.html.j2").read_text("utf-8"))
    shown = [_shown(card) for card in islice(cards, limit)]
    tags = Counter(tag for each in shown for tag in each.card.tags)
    statuses = Counter(each.card.status for each in shown)
    return template.render(
        header=header,
        shown=shown,
        tags=sorted(tags.most_common(_TAGS_TO_FILTER_BY)),
        statuses=[(status, statuses[status]) for status in ("right", "wrong", "answered", "error") if statuses[status]],
    )


def write_gallery(uri: str, header: Header, cards: Iterable[Card], limit: int = DEFAULT_CARDS) -> None:
    """`render_gallery` into one file at `uri`, at once or not at all."""
    page = render_gallery(header, cards, limit)
    # Text from images' metadata may hold lone surrogates, which UTF-8 cannot write.
    write_bytes_atomic(uri, page.encode("utf-8", "replace"))


def _shown(card: Card) -> _Shown:
    size = upright_size(card.image) if card.boxes else None
    outlines = () if size is None else tuple(_Outline(box.label, *box.percent(*size)) for box in card.boxes)
    return _Shown(replace(card, image=None), _data_uri(card.image), outlines)


def _data_uri(image: bytes | None) -> str | None:
    small = thumbnail(image)
    return None if small is None else f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"
