"""The report of a comparison: the difference with its interval, wins and losses, drift, and the rows that flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vqa_ray.comparison.record import ALL_QUESTIONS, ROWS, Comparison, Difference, Drift, Group, Pair, Wins
from vqa_ray.counted import counted
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.report.card import Card, Line, ScoredText
from vqa_ray.report.evaluation_cards import pictures_of, run_of
from vqa_ray.report.evaluation_report import scale_top, shown_value
from vqa_ray.report.gallery import Fact
from vqa_ray.report.plots import Plot, overlaid
from vqa_ray.report.report_page import MOST_BARS, Bar, Bars, Headline, Report, Section, Table
from vqa_ray.report.run_gallery import cut_text
from vqa_ray.runs.part_files import read_columns
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.python_rows import python_rows
from vqa_ray.storage.uri import join, redacted_uri

_CARDS = 24
_PLOTS = 6
_VALUES = 12


def comparison_report(uri: str, found: Comparison, *, allow_http: bool = False) -> Report:
    """Make the report of a comparison.

    Args:
        uri: of its directory.
        found: its record.
        allow_http: whether images are fetched from the web.
    """
    first = found.inputs[0].name
    flipped = _flipped(uri)
    evaluation = EvaluationRecord.read(found.inputs[0].uri) if found.kind == "evaluations" else None
    run = found.inputs[0].uri if evaluation is None else run_of(found.inputs[0].uri, evaluation)
    sections: list[Section] = []
    for pair in found.pairs:
        second = found.inputs[pair.second].name
        title = f"{first} → {second}"
        sections += [
            _differences(title, found, pair),
            _wins(f"{title}: wins and losses", first, second, pair),
            *_drift(title, first, second, pair),
            Section(
                f"{title}: rows that flipped",
                "1 row differs." if pair.flipped == 1 else f"{pair.flipped:,} rows differ.",
                cards=tuple(_cards(flipped.get(pair.second, ()), (first, second), found.by, run, allow_http)),
            ),
        ]
    kind = f"{found.title}: " if found.title else f"{found.job}: "
    return Report(
        title=kind + " → ".join(each.name for each in found.inputs),
        about=" · ".join(
            f"{each.name}: {redacted_uri(each.model)}, {counted(each.rows, 'row')}" for each in found.inputs
        ),
        headlines=tuple(headline for pair in found.pairs for headline in _headlines(found, pair)),
        facts=tuple(fact for pair in found.pairs for fact in _facts(found, pair)),
        notes=tuple(found.notes),
        sections=tuple(sections),
        manifest={
            "inputs": {
                each.name: {"uri": each.uri, "model": each.model, "errors": each.errors} for each in found.inputs
            },
            **{name: getattr(found, name) for name in ("protocol", "truth", "key", "by", "level", "seed", "resamples")},
            "max_drift": found.max_drift,
            "version": found.version,
        },
    )


def _headlines(found: Comparison, pair: Pair) -> Iterator[Headline]:
    second = found.inputs[pair.second].name
    if pair.differences:
        each = pair.differences[0]
        top = scale_top([each.first, each.second])
        p_value = pair.adjusted_p_value if pair.adjusted_p_value is not None else each.p_value
        about = f"{shown_value(each.first, top)} → {shown_value(each.second, top)}, {counted(each.n, 'row')}"
        chance = "" if p_value is None else f"; p {_p(p_value)}"
        yield Headline(
            f"{each.name}: {second}", _signed(each.difference, top), _reach(each, found, top), about + chance
        )
    elif pair.drift:
        first, *rest = pair.drift
        is_total = first.name == ALL_QUESTIONS
        yield _drift_headline(f"{'drift' if is_total else 'largest drift'}: {second}", first)
        if is_total and rest and rest[0].is_beyond_chance:
            yield _drift_headline(f"largest drift: {second}", rest[0])


def _drift_headline(title: str, each: Drift) -> Headline:
    state = "exceeds the limit" if each.exceeds else f"chance alone gives up to {each.noise:.3f}"
    return Headline(title, f"{each.value:.3f}", each.name, f"{each.flipped:,} of {each.both:,} flipped; {state}")


def _facts(found: Comparison, pair: Pair) -> Iterator[Fact]:
    suffix = f" ({found.inputs[pair.second].name})" if found.pairs[1:] else ""
    yield Fact(f"rows in both{suffix}", f"{pair.both:,}")
    yield Fact(f"flipped{suffix}", f"{pair.flipped:,}")
    if pair.only_first:
        yield Fact(f"only in the first{suffix}", f"{pair.only_first:,}")
    if pair.only_second:
        yield Fact(f"only in the second{suffix}", f"{pair.only_second:,}")
    if pair.mcnemar is not None:
        yield Fact(f"McNemar's test{suffix}", f"p {_p(pair.mcnemar.p_value)}")


def _differences(title: str, found: Comparison, pair: Pair) -> Section:
    grouped: dict[tuple[str, str], list[Difference]] = {}
    for each in pair.differences:
        # `f1[colour=red]` is the measure f1 of one tag.
        name, bracket, tag = each.name.partition("[")
        group = Group("tag", tag.removesuffix("]")) if bracket and each.group is None else each.group
        grouped.setdefault((group.column if group else "", name), []).append(replace(each, name=name, group=group))
    bars = []
    for (column, name), differences in grouped.items():
        top = scale_top(value for each in differences for value in (each.first, each.second))
        limits = [abs(value) for each in differences for value in (each.difference, each.low, each.high) if value]
        reach = max(limits, default=1.0)
        ordered = sorted(differences, key=lambda each: (-each.n, -abs(each.difference or 0)))
        shown = tuple(_difference(each, name, top, reach) for each in ordered[:MOST_BARS])
        head = (column or "measure", "difference", "rows")
        label = f"{name} by {column}" if column else name
        bars.append(Bars(label, head, shown, more=max(0, len(ordered) - MOST_BARS)))
    about = (
        f"Second minus first, with {100 * found.level:.0f} % intervals of the same rows; the middle is no difference."
    )
    return Section(f"{title}: differences", about, bars=tuple(bars))


def _difference(each: Difference, name: str, top: float, reach: float) -> Bar:
    def place(value: float) -> float:
        return 50 + 50 * value / reach if reach else 50.0

    value = each.difference or 0.0
    label = cut_text(each.group.value or "(empty)") if each.group else name
    sure = each.low is not None and each.high is not None and (each.low > 0 or each.high < 0)
    return Bar(
        label,
        _signed(each.difference, top),
        50,
        place(value),
        f"{each.n:,}",
        None if each.low is None else place(each.low),
        None if each.high is None else place(each.high),
        "" if each.low is None else f"{_signed(each.low, top)} – {_signed(each.high, top)}",
        ("right" if value > 0 else "wrong") if sure else "accent",
    )


def _wins(title: str, first: str, second: str, pair: Pair) -> Section:
    def row(each: Wins) -> tuple[str, ...]:
        name = "all rows" if each.group is None else f"{each.group.column}: {cut_text(each.group.value)}"
        return name, f"{each.first:,}", f"{each.second:,}", f"{each.ties:,}"

    ordered = sorted(pair.wins, key=lambda each: (each.group is not None, -(each.first + each.second)))
    rows = tuple(map(row, ordered[:MOST_BARS]))
    head = ("rows", f"better in {cut_text(first)}", f"better in {cut_text(second)}", "equal")
    return Section(
        title, tables=(Table("Rows with a better score in one of them", head, rows, numbers_from=1),) if rows else ()
    )


def _drift(title: str, first: str, second: str, pair: Pair) -> Iterator[Section]:
    if not pair.drift:
        return
    bars = tuple(
        Bar(
            cut_text(each.name),
            f"{each.value:.3f}",
            0,
            100 * min(each.value, 1),
            f"{each.flipped:,}",
            0,
            100 * min(each.noise, 1),
            f"chance ≤ {each.noise:.3f}",
            "wrong" if each.exceeds else "accent",
        )
        for each in pair.drift[:MOST_BARS]
    )
    yield Section(
        f"{title}: drift",
        "How far the shares of the values lie apart, 0 to 1 (Jensen–Shannon's distance); the line: what chance gives.",
        bars=(Bars("Drift", ("of", "distance", "rows flipped"), bars, more=max(0, len(pair.drift) - MOST_BARS)),),
    )
    yield Section(
        f"{title}: values",
        "The share of each value in both, those that changed most first.",
        plots=tuple(_plots(first, second, pair.drift)),
        tables=tuple(_shares(first, second, each) for each in pair.drift[:MOST_BARS] if each.shares),
    )


def _plots(first: str, second: str, drift: Sequence[Drift]) -> Iterator[Plot]:
    for each in [each for each in drift if each.scores is not None][:_PLOTS]:
        scores = each.scores
        assert scores is not None
        yield overlaid(
            f"Scores: {cut_text(each.name)}",
            f"{first} filled, {second} as a line. Distance {scores.value:.3f} (Kolmogorov–Smirnov), chance gives up to "
            f"{scores.noise:.3f}.",
            np.array(scores.edges),
            np.array(scores.first, np.float64),
            np.array(scores.second, np.float64),
        )


def _shares(first: str, second: str, each: Drift) -> Table:
    ordered = sorted(each.shares, key=lambda share: -abs(share.second - share.first))[:_VALUES]
    rows = tuple(
        (
            cut_text(share.value or "(none)"),
            f"{100 * share.first:.1f} %",
            f"{100 * share.second:.1f} %",
            f"{100 * (share.second - share.first):+.1f}",
        )
        for share in ordered
    )
    return Table(cut_text(each.name), ("value", cut_text(first), cut_text(second), "points"), rows, numbers_from=1)


def _flipped(uri: str) -> dict[int, list[dict[str, Any]]]:
    """Read some rows that flipped, by the number of the second input: those with the surest answers first."""
    folder = join(uri, ROWS)
    files = [entry.uri for entry in list_files(folder) if entry.uri.endswith(".parquet")] if exists(folder) else []
    found: dict[int, list[dict[str, Any]]] = {}
    for file in files:
        for row in python_rows(read_columns(file)):
            kept = found.setdefault(row["pair"], [])
            kept.append(row)
            if len(kept) > 4 * _CARDS:
                found[row["pair"]] = sorted(kept, key=_interest)[:_CARDS]
    return {pair: sorted(rows, key=_interest)[:_CARDS] for pair, rows in found.items()}


def _interest(row: Mapping[str, Any]) -> float:
    sure = [row[f"{side}_confidence"] for side in ("first", "second") if row[f"{side}_confidence"] is not None]
    return -max(sure, default=0.0)


def _cards(
    rows: Sequence[Mapping[str, Any]], names: tuple[str, str], by: Sequence[str], run: str, allow_http: bool
) -> Iterator[Card]:
    for row, picture in zip(rows, pictures_of(rows, run, allow_http), strict=True):
        asked = " · ".join(text for text in (row["question"], row["attribute"]) if text)
        lines = [Line("question", (ScoredText(cut_text(asked)),))] if asked else []
        for side, name in zip(("first", "second"), names, strict=True):
            said, score = row[f"{side}_prediction"], row[f"{side}_score"]
            text = row[f"{side}_error_code"] or ("(none)" if said is None else said or "(empty)")
            right = None if row["truth"] is None or score is None else score >= 0.5
            value = ScoredText(cut_text(text), row[f"{side}_confidence"])
            lines.append(Line(cut_text(name), (value,), None if right is None else cut_text(row["truth"]), right))
        lines += [Line(name, (ScoredText(cut_text(str(row[name]))),)) for name in by if row.get(name) is not None]
        yield Card(
            title=cut_text(row["image_id"] or row["key"] or ""),
            image=None if picture.preview is None else picture.preview.jpeg,
            lines=tuple(lines),
            warning=f"no picture: {cut_text(picture.reason)}" if picture.reason else None,
        )


def _signed(value: float | None, top: float) -> str:
    return "–" if value is None else f"{'+' if value >= 0 else '−'}{shown_value(abs(value), top)}"


def _reach(each: Difference, found: Comparison, top: float) -> str:
    if each.low is None:
        return ""
    return f"{100 * found.level:.0f} %: {_signed(each.low, top)} – {_signed(each.high, top)}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
