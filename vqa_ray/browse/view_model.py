"""The view model of a page: everything that its template shows. The template escapes every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vqa_ray.browse.captions import describe_collection, describe_results, explain_empty, explain_unused, name_of
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
    """An error to show on a page.

    Attributes:
        title: a few words.
        message: one line.
        excerpt: the input with the fault marked, lines; empty for most errors.
    """

    title: str
    message: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class QueryPicture:
    """The query image of a search.

    Attributes:
        src, alt: of its thumbnail.
        name, value: of the form field that holds it.
        without: the URL of the page without it.
    """

    src: str
    alt: str
    name: str
    value: str
    without: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A tag with the URL that selects or deselects it; None where tags are no facet."""

    tag: Tag
    url: str | None
    selected: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A row on a page. `directory` and `name` are the two parts of its title."""

    position: int
    rank: int
    directory: str
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
    """What the server can do.

    Attributes:
        can_search_similar: whether it searches by similarity.
        can_verify: whether it verifies hits with a VQA model.
        max_image_bytes: of a query image.
    """

    can_search_similar: bool
    can_verify: bool
    max_image_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on a page, for `page.html.j2`."""

    view: UrlState
    uri: str
    name: str
    title: str
    about: str
    summary: str
    empty_reason: str
    notes: tuple[str, ...]
    facets: list[FacetCounts]
    selected: list[tuple[str, str, str]]
    hits: list[Hit]
    pages: int
    exports: tuple[tuple[str, str], ...]
    can_sort: bool
    query_picture: QueryPicture | None
    capabilities: Capabilities
    problem: Problem | None

    @property
    def previous(self) -> str | None:
        """The URL of the previous page; None on the first."""
        return self.view.replaced(page=self.view.page - 1).url() if self.view.page > 1 else None

    @property
    def next(self) -> str | None:
        """The URL of the next page; None on the last."""
        return self.view.replaced(page=self.view.page + 1).url() if self.view.page < self.pages else None


@dataclass(frozen=True, slots=True)
class ResultPage:
    """The rows of a view, over all of its pages.

    Attributes:
        positions: int64 (K,), in order.
        pool: bool (N,), the rows over which facets are counted.
        hits: of the search; None without a search.
    """

    positions: Positions
    pool: Mask
    hits: SearchHits | None = None


def rows_in_order(collection: Collection, view: UrlState, among: Mask, pool: Mask) -> ResultPage:
    """Return the rows of a view without a search."""
    positions = collection.order[among[collection.order]]
    if view.sort and collection.scores is not None:
        positions = by_score(positions, collection.scores, lowest_first=view.sort == "worst")
    return ResultPage(positions, pool)


def rows_found(hits: SearchHits, view: UrlState, pool: Mask) -> ResultPage:
    """Return the hits of a search; the view decides whether hits that do not match are left out."""
    if view.only and hits.verdicts is not None:
        kept = [number for number, verdict in enumerate(hits.verdicts) if verdict.match or verdict.error]
        verdicts = tuple(hits.verdicts[number] for number in kept)
        hits = replace(hits, positions=hits.positions[kept], scores=hits.scores[kept], verdicts=verdicts)
    return ResultPage(hits.positions, pool, hits)


def make_page(
    collection: Collection,
    view: UrlState,
    results: ResultPage | None,
    capabilities: Capabilities,
    problem: Problem | None = None,
) -> Page:
    """Make the page of a view; reads its thumbnails.

    Args:
        collection: to show.
        view: of the collection.
        results: the rows of the view; None where `problem` says why they are not available.
        capabilities: of the server.
        problem: to show above the rows.
    """
    pool = results.pool if results else np.ones(len(collection), np.bool_)
    total = len(results.positions) if results else 0
    pages = max(1, -(-total // PAGE_ROWS))
    view = view.replaced(page=min(view.page, pages))
    return Page(
        view=view,
        uri=redacted_uri(collection.uri),
        name=name_of(collection.uri),
        title=" · ".join(part for part in (view.text, name_of(collection.uri)) if part),
        about=describe_collection(collection),
        summary="" if results is None else describe_results(collection, view, total, results.hits),
        empty_reason="" if results is None else explain_empty(collection, view),
        notes=(*collection.notes, *explain_unused(view, capabilities.can_search_similar)),
        facets=collection.facets.count(view.selected_by_facet(), pool),
        selected=[(name, value, view.toggled(name, value).url()) for name, value in view.selected],
        hits=_hits(collection, view, results) if results else [],
        pages=pages,
        exports=tuple((form.upper(), view.export_url(form)) for form in ("csv", "json")) if total else (),
        can_sort=collection.scores is not None,
        query_picture=_query_picture(view),
        capabilities=capabilities,
        problem=problem,
    )


def row_values(collection: Collection, position: int) -> dict[str, Any]:
    """Return the values of a row for `row.html.j2`.

    Raises:
        IndexError: no such row.
    """
    if not 0 <= position < len(collection):
        raise IndexError(position)
    (row,) = collection.take([position])
    (picture,) = collection.thumbnails.of([position])
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


def _hits(collection: Collection, view: UrlState, results: ResultPage) -> list[Hit]:
    first = (view.page - 1) * PAGE_ROWS
    here = slice(first, first + PAGE_ROWS)
    positions = results.positions[here].tolist()
    collection.originals.expect(positions)
    rows, thumbnails = collection.take(positions), collection.thumbnails.of(positions)
    cards = [collection.cards.card(row) for row in rows]
    sizes = _sizes(collection, positions, cards)
    hits = results.hits
    scores = [None] * len(rows) if hits is None else hits.scores[here].tolist()
    verdicts: Sequence[Verdict | None] = [collection.cards.verdict(row) for row in rows]
    if hits is not None and hits.verdicts is not None:
        verdicts = hits.verdicts[here]
    return [
        Hit(
            position,
            first + number + 1,
            *_split(card.title),
            card,
            thumbnails[number] is not None or collection.originals.has(position),
            scores[number],
            verdicts[number],
            tuple(_chip(collection, view, tag) for tag in collection.cards.tags(rows[number])),
            _similar(collection, rows[number], position),
            card.outlines(size) if size else (),
        )
        for number, (position, card, size) in enumerate(zip(positions, cards, sizes, strict=True))
    ]


def _sizes(collection: Collection, positions: Sequence[int], cards: Sequence[Card]) -> list[tuple[int, int] | None]:
    """(height, width) of the images of cards with boxes; None where unknown."""
    boxed = [position for position, card in zip(positions, cards, strict=True) if card.boxes]
    known = dict(zip(boxed, collection.thumbnails.sizes(boxed), strict=True))
    unknown = [position for position, size in known.items() if size is None]
    known |= zip(unknown, collection.originals.sizes(unknown), strict=True)
    return [known.get(position) for position in positions]


def _split(title: str) -> tuple[str, str]:
    directory, slash, name = title.rpartition("/")
    return (directory + slash, name) if name else ("", title)


def _chip(collection: Collection, view: UrlState, tag: Tag) -> Chip:
    pair = (tag.attribute, tag.value)
    if pair not in collection.facets:
        return Chip(tag, None, False)
    return Chip(tag, view.toggled(*pair).url(), pair in view.selected)


def _similar(collection: Collection, row: Any, position: int) -> str | None:
    searchable = collection.index is not None and row["error_code"] is None
    return UrlState(like=position).url() if searchable else None


def _query_picture(view: UrlState) -> QueryPicture | None:
    if view.image:
        without = view.replaced(image="").url()
        return QueryPicture(f"/query-image/{view.image}", "the query image", "image", view.image, without)
    if view.like is not None:
        without = view.replaced(like=None).url()
        src = f"/thumbnail/{view.like}"
        return QueryPicture(src, "the image to which hits are similar", "like", str(view.like), without)
    return None
