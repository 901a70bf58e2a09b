"""A report: one self-contained HTML page of numbers, plots, tables and cards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqa_ray.report.card import Card
from vqa_ray.report.gallery import Fact, shown_card
from vqa_ray.report.plots import Plot
from vqa_ray.report.row_cards import text_of
from vqa_ray.report.templates import environment
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.uri import redacted_uri

# Of a table of bars; a taxonomy may have thousands of tags.
MOST_BARS = 40
# Control characters, and the overrides of the direction of writing.
_INVISIBLE = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202d\u202e]")
_MOST_FACTS_OF_MANIFEST = 300


@dataclass(frozen=True, slots=True)
class Headline:
    """A number above all others, with its interval as text; empty for none."""

    name: str
    value: str
    interval: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a table of bars.

    Attributes:
        label: text of the data.
        value, count: as they are shown.
        start, stop: the ends of the bar in percent of its track.
        low, high: the ends of its interval, likewise; None for none.
        tone: `accent`, `right` or `wrong`.
    """

    label: str
    value: str
    start: float
    stop: float
    count: str = ""
    low: float | None = None
    high: float | None = None
    interval: str = ""
    tone: str = "accent"


@dataclass(frozen=True, slots=True)
class Bars:
    """A table of bars; `head` names its three columns."""

    title: str
    head: tuple[str, str, str]
    bars: tuple[Bar, ...]
    about: str = ""
    more: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; the columns from `numbers_from` on hold numbers. A wide one has a row of the page to itself."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    about: str = ""
    numbers_from: int = 99
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report under its own heading; what is empty is left out.

    Attributes:
        title, about: of the part.
        plots, bars, tables, cards: its content, in this order.
    """

    title: str
    about: str = ""
    plots: tuple[Plot, ...] = ()
    bars: tuple[Bars, ...] = ()
    tables: tuple[Table, ...] = ()
    cards: tuple[Card, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.plots or self.bars or self.tables or self.cards)


@dataclass(frozen=True, slots=True)
class Report:
    """A page.

    Attributes:
        title, about: at the top.
        headlines: the numbers that matter most.
        facts: counts.
        notes: remarks, a sentence each.
        sections: in order.
        manifest: what made the rows: JSON as it is recorded.
        refresh_s: seconds after which a browser loads the page again; 0 for never.
    """

    title: str
    about: str
    headlines: tuple[Headline, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    manifest: Mapping[str, Any] | None = None
    refresh_s: int = 0


def render_report(report: Report) -> str:
    """Render the page as HTML; all text is escaped.

    Raises:
        RequestError: Jinja2 is not installed.
    """
    templates = environment("vqa_ray.report", "a report").overlay(finalize=_visible)
    return templates.get_template("report.html.j2").render(
        report=report,
        sections=[(each, [shown_card(card) for card in each.cards]) for each in report.sections if each],
        manifest=list(_flat(report.manifest or {}))[:_MOST_FACTS_OF_MANIFEST],
    )


def _visible(value: Any) -> Any:
    """Replace characters in texts of the data that are invisible, or turn the text around them."""
    return _INVISIBLE.sub("\ufffd", value) if type(value) is str else value


def write_report(uri: str, report: Report) -> int:
    """Render a report into one file, atomically; return its size in bytes."""
    # Text may hold lone surrogates, which UTF-8 cannot encode.
    data = render_report(report).encode("utf-8", "replace")
    write_bytes_atomic(uri, data)
    return len(data)


def counted_bars(
    title: str, head: tuple[str, str, str], counts: Mapping[str, int], total: int, *, about: str = "", tone: str = ""
) -> Bars:
    """Return the most frequent of `counts` as shares of `total`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    shares = [(name, count, 100 * count / max(total, 1)) for name, count in ordered[:MOST_BARS]]
    bars = (
        Bar(name or "(empty)", _percent(share), 0, share, f"{count:,}", tone=tone or "accent")
        for name, count, share in shares
    )
    return Bars(title, head, tuple(bars), about, max(0, len(ordered) - MOST_BARS))


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each value of nested JSON; secrets of URIs are left out."""
    for name, value in content.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif value not in (None, [], ""):
            yield path, redacted_uri(value) if isinstance(value, str) else text_of(_without_secrets(value))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redacted_uri(value)
    if isinstance(value, Mapping):
        return {name: _without_secrets(each) for name, each in value.items()}
    return [_without_secrets(each) for each in value] if isinstance(value, Sequence) else value
