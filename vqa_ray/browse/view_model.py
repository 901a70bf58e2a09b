"""What a page shows, worked out from what was asked for and what was found. Its HTML escapes every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vqa_ray.browse.captions import describe_collection, describe_results, explain_empty, name_of
from vqa_ray.browse.dataset import Collection, Positions
from vqa_ray.browse.facets import FacetCounts
from vqa_ray.browse.scores import by_score
from vqa_ray.browse.search import SearchHits
from vqa_ray.browse.text_filter import Mask
from vqa_ray.browse.url_state import PAGE_ROWS, UrlState
from vqa_ray.report.card import Card, Outline
from vqa_ray.report.row_cards import Field, Tag, Verdict, fields_of
from vqa_ray.storage.uri import redacted_uri


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is not what was asked for.

    Attributes:
        title: a few words.
        message: one line.
        excerpt: what was given with the fault marked, lines; empty for most.
    """

    title: str
    message: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class QueryPicture:
    """The image that is searched by: where its thumbnail is, the field that names it, and the page without it."""

    src: str
    alt: str
    name: str
    value: str
    without: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A tag, and the page that is narrowed to it; None where tags cannot be chosen from."""

    tag: Tag
    url: str | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A row on a page. `place` is where it is, `name` what it is called there; its title holds both."""

    position: int
    rank: int
    place: str
    name: str
    card: Card
    has_picture: bool
    score: float | None
    verdict: Verdict | None
    chips: tuple[Chip, ...]
    similar: str | None
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be asked for here.

    Attributes:
        can_look: whether images that look like something.
        can_verify: whether a VQA model's word on them.
        max_image_bytes: of an image to search by.
    """

    can_look: bool
    can_verify: bool
    max_image_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on a page; see `page.html.j2`."""

    view: UrlState
    uri: str
    name: str
    title: str
    about: str
    summary: str
    empty_reason: str
    notes: tuple[str, ...]
    facets: list[FacetCounts]
    chosen: list[tuple[str, str, str]]
    hits: list[Hit]
    pages: int
    exports: tuple[tuple[str, str], ...]
    can_sort: bool
    query_picture: QueryPicture | None
    offered: Capabilities
    problem: Problem | None

    @property
    def previous(self) -> str | None:
        """The page before."""
        return self.view.but(page=self.view.page - 1).url() if self.view.page > 1 else None

    @property
    def next(self) -> str | None:
        """The page after."""
        return self.view.but(page=self.view.page + 1).url() if self.view.page < self.pages else None


@dataclass(frozen=True, slots=True)
class ResultPage:
    """The rows that a view comes to: all of them, in order; `pool` is what its facets are counted over."""

    positions: Positions
    pool: Mask
    found: SearchHits | None = None


def rows_in_order(collection: Collection, view: UrlState, among: Mask, pool: Mask) -> ResultPage:
    """The rows while nothing is searched for."""
    positions = collection.order[among[collection.order]]
    if view.sort and collection.scores is not None:
        positions = by_score(positions, collection.scores, lowest_first=view.sort == "worst")
    return ResultPage(positions, pool)


def rows_found(found: SearchHits, view: UrlState, pool: Mask) -> ResultPage:
    """The hits of a search; without those that do not match where only matches are wanted."""
    if view.only and found.verdicts is not None:
        kept = [place for place, each in enumerate(found.verdicts) if each.match or each.error]
        verdicts = tuple(found.verdicts[place] for place in kept)
        found = replace(found, positions=found.positions[kept], scores=found.scores[kept], verdicts=verdicts)
    return ResultPage(found.positions, pool, found)


def make_page(
    collection: Collection,
    view: UrlState,
    listed: ResultPage | None,
    offered: Capabilities,
    problem: Problem | None = None,
) -> Page:
    """A page of a view; reads its thumbnails.

    Args:
        collection: what is shown.
        view: which part of it.
        listed: the rows that it comes to; None where they cannot be had, which `problem` tells.
        offered: what else can be asked for.
        problem: to be shown above all.
    """
    pool = listed.pool if listed else np.ones(len(collection), np.bool_)
    total = len(listed.positions) if listed else 0
    pages = max(1, -(-total // PAGE_ROWS))
    view = view.but(page=min(view.page, pages))
    return Page(
        view=view,
        uri=redacted_uri(collection.uri),
        name=name_of(collection.uri),
        title=" · ".join(part for part in (view.text, name_of(collection.uri)) if part),
        about=describe_collection(collection),
        summary="" if listed is None else describe_results(collection, view, total, listed.found),
        empty_reason="" if listed is None else explain_empty(collection, view),
        notes=collection.notes,
        facets=collection.facets.counted(view.gathered(), pool),
        chosen=[(name, value, view.toggled(name, value).url()) for name, value in view.chosen],
        hits=_hits(collection, view, listed) if listed else [],
        pages=pages,
        exports=tuple((form.upper(), view.export_url(form)) for form in ("csv", "json")) if total else (),
        can_sort=collection.scores is not None,
        query_picture=_query_picture(view),
        offered=offered,
        problem=problem,
    )


def row_values(collection: Collection, position: int) -> dict[str, Any]:
    """What `row.html.j2` shows of a row.

    Raises:
        IndexError: there is no such row.
    """
    if not 0 <= position < len(collection):
        raise IndexError(position)
    (row,) = collection.take([position])
    (picture,) = collection.pictures.of([position])
    fields: tuple[Field, ...] = fields_of(row)
    return {
        "position": position,
        "card": collection.cards.card(row),
        "chips_of_row": [_chip(collection, UrlState(), tag) for tag in collection.cards.tags(row)],
        "fields": fields,
        "has_picture": picture is not None or collection.originals.has(position),
        "shown_verdict": collection.cards.verdict(row),
        "similar": _similar(collection, row, position),
    }


def _hits(collection: Collection, view: UrlState, listed: ResultPage) -> list[Hit]:
    first = (view.page - 1) * PAGE_ROWS
    here = slice(first, first + PAGE_ROWS)
    positions = listed.positions[here].tolist()
    collection.originals.expect(positions)
    rows, pictures = collection.take(positions), collection.pictures.of(positions)
    cards = [collection.cards.card(row) for row in rows]
    sizes = _sizes(collection, positions, cards)
    found = listed.found
    scores = [None] * len(rows) if found is None else found.scores[here].tolist()
    asked: Sequence[Verdict | None] = [collection.cards.verdict(row) for row in rows]
    if found is not None and found.verdicts is not None:
        asked = found.verdicts[here]
    return [
        Hit(
            position,
            first + place + 1,
            *_split(cards[place].title),
            cards[place],
            pictures[place] is not None or collection.originals.has(position),
            scores[place],
            asked[place],
            tuple(_chip(collection, view, tag) for tag in collection.cards.tags(rows[place])),
            _similar(collection, rows[place], position),
            cards[place].outlines(size) if (size := sizes[place]) else (),
        )
        for place, position in enumerate(positions)
    ]


def _sizes(collection: Collection, positions: Sequence[int], cards: Sequence[Card]) -> list[tuple[int, int] | None]:
    """(height, width) of the images of cards with boxes, as far as they are known."""
    found: list[tuple[int, int] | None] = [None] * len(positions)
    boxed = [place for place, card in enumerate(cards) if card.boxes]
    for place, size in zip(boxed, collection.pictures.sizes([positions[each] for each in boxed]), strict=True):
        found[place] = size
    unknown = [place for place in boxed if found[place] is None]
    for place, size in zip(unknown, collection.originals.sizes([positions[each] for each in unknown]), strict=True):
        found[place] = size
    return found


def _split(title: str) -> tuple[str, str]:
    place, slash, name = title.rpartition("/")
    return (place + slash, name) if name else ("", title)


def _chip(collection: Collection, view: UrlState, tag: Tag) -> Chip:
    pair = (tag.attribute, tag.value)
    if pair not in collection.facets:
        return Chip(tag, None, False)
    return Chip(tag, view.toggled(*pair).url(), pair in view.chosen)


def _similar(collection: Collection, row: Any, position: int) -> str | None:
    searchable = collection.index is not None and row["error_code"] is None
    return UrlState(like=position).url() if searchable else None


def _query_picture(view: UrlState) -> QueryPicture | None:
    if view.image:
        without = view.but(image="").url()
        return QueryPicture(f"/query-image/{view.image}", "the image that is searched by", "image", view.image, without)
    if view.like is not None:
        without = view.but(like=None).url()
        src = f"/thumbnail/{view.like}"
        return QueryPicture(src, "the image that hits are to look like", "like", str(view.like), without)
    return None
