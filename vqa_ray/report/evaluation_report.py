"""The report of an evaluation: the numbers with their intervals, how far scores can be trusted, what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from functools import partial

import numpy as np

from vqa_ray.counted import counted
from vqa_ray.evaluation.reliability import Reliability
from vqa_ray.judging.record import EvaluationRecord, Measure
from vqa_ray.report.evaluated_rows import EvaluatedRows
from vqa_ray.report.evaluation_cards import evaluation_cards, run_of
from vqa_ray.report.gallery import Fact
from vqa_ray.report.plots import Floats, histogram, reliability_diagram, risk_coverage
from vqa_ray.report.report_page import MOST_BARS, Bar, Bars, Headline, Report, Section, Table, counted_bars
from vqa_ray.report.run_gallery import cut_text
from vqa_ray.storage.uri import name_of, redacted_uri

_MISTAKES, _UNPARSED = 24, 8
_HEADLINES = 4
_MOST_TAGS = 200
# A measure of one tag.
_OF_A_TAG = re.compile(r"(\w+)\[(.+)\]", re.DOTALL)
# What became of the rows of truth, then what lies outside of the mean.
_COUNTS = {
    "truth": "rows of truth",
    "judged": "judged",
    "unparsed": "not readable, counted as wrong",
    "failed": "failed, counted as wrong",
    "missing": "without a prediction, counted as wrong",
    "no_truth": "predictions without truth",
    "bad_truth": "truth that cannot be used",
    "duplicate_truth": "truth given twice",
    "superseded": "earlier attempts",
}


def evaluation_report(uri: str, record: EvaluationRecord, *, allow_http: bool = False) -> Report:
    """Make the report of an evaluation.

    Args:
        uri: of its directory.
        record: its record.
        allow_http: whether images are fetched from the web.
    """
    rows = EvaluatedRows.read(uri)
    overall = [each for each in record.measures if each.group is None and _OF_A_TAG.fullmatch(each.name) is None]
    headlines = sorted(overall, key=lambda each: each.name != record.headline)
    level = f"{100 * record.interval['level']:.0f} %"
    truth = f"against {redacted_uri(record.truth)}" if record.truth else "against the truth that the run holds"
    cards = partial(evaluation_cards, predictions=run_of(uri, record), by=record.by, allow_http=allow_http)
    return Report(
        title=f"{record.title}: {name_of(record.predictions)}",
        about=f"{record.job or 'predictions'} by {redacted_uri(record.model or 'an unnamed model')}, judged by "
        f"{record.protocol} {truth}.",
        headlines=tuple(_headline(each, record, level) for each in headlines[:_HEADLINES]),
        facts=tuple(
            Fact(text, f"{record.rows.get(name, 0):,}")
            for name, text in _COUNTS.items()
            if record.rows.get(name) or name in ("truth", "judged")
        ),
        notes=tuple(record.notes),
        sections=(
            Section("All measures", bars=tuple(_overall(headlines, record)) if overall[1:] else ()),
            Section("Broken down", _intervals(record, level), bars=tuple(_breakdowns(record))),
            Section("By tag", tables=tuple(_tags(record))),
            _trust(record.calibration),
            Section(
                "Most confident mistakes" if rows.have_scores else "Mistakes",
                f"Wrong answers{' with the highest scores' if rows.have_scores else ''}: wrong truth, an ambiguous "
                "question, or a model that is misled.",
                cards=tuple(cards(rows.mistakes(_MISTAKES))),
            ),
            Section("Most frequent mistakes", tables=tuple(_confusions(rows))),
            Section(
                "Not readable",
                "Predictions that are no answer of the wanted kind; they count as wrong.",
                cards=tuple(cards(rows.unparsed(_UNPARSED))),
            ),
            _errors(record, rows),
        ),
        manifest={name: value for name, value in record.to_dict().items() if name not in ("measures", "calibration")},
    )


def shown_value(value: float | None, top: float) -> str:
    """Return a measure as text: of a scale to 1 with four digits, to 100 with two, else with one."""
    if value is None:
        return "–"
    return f"{value:.4f}" if top <= 1 else f"{value:.2f}" if top <= 100 else f"{value:,.1f}"


def scale_top(values: Iterable[float | None], scale: float = 1.0) -> float:
    """Return the end of the axis of values in one unit: 1, 100, or the highest value; at least `scale`."""
    highest = max((each for each in values if each is not None), default=0.0)
    return scale if highest <= scale else 100.0 if highest <= 100 else highest


def _headline(measure: Measure, record: EvaluationRecord, level: str) -> Headline:
    top = scale_top([measure.value], record.scale)
    interval = f"{level}: {_range(measure, top)}" if measure.low is not None else ""
    return Headline(measure.name, shown_value(measure.value, top), interval, counted(measure.n, "row"))


def _range(measure: Measure, top: float) -> str:
    return f"{shown_value(measure.low, top)} – {shown_value(measure.high, top)}"


def _overall(measures: Sequence[Measure], record: EvaluationRecord) -> Iterator[Bars]:
    """One table for each scale: a share and a number of points do not share an axis."""
    by_top: dict[float, list[Measure]] = {}
    for each in measures:
        by_top.setdefault(scale_top([each.value], record.scale), []).append(each)
    for top, alike in by_top.items():
        yield Bars("All rows", ("measure", "value", "rows"), tuple(_bar(each.name, each, top) for each in alike))


def _breakdowns(record: EvaluationRecord) -> Iterator[Bars]:
    """One table for each column and measure, the headline first; groups with the most rows first."""
    found: dict[tuple[str, str], list[tuple[str, Measure]]] = {}
    for each in record.measures:
        if each.group is not None:
            found.setdefault((each.group.column, each.name), []).append((each.group.value, each))
    for (column, name), measures in sorted(found.items(), key=lambda pair: pair[0][1] != record.headline):
        top = scale_top((each.value for _, each in measures), record.scale)
        ordered = sorted(measures, key=lambda pair: -pair[1].n)
        bars = tuple(_bar(value, each, top) for value, each in ordered[:MOST_BARS])
        yield Bars(f"{name} by {column}", (column, name, "rows"), bars, more=max(0, len(ordered) - MOST_BARS))


def _tags(record: EvaluationRecord) -> Iterator[Table]:
    """Return the measures of single tags, `f1[colour=red]`, a row for each tag."""
    found: dict[str, dict[str, Measure]] = {}
    for each in record.measures:
        name = _OF_A_TAG.fullmatch(each.name)
        if name is not None and each.group is None:
            found.setdefault(name[2], {})[name[1]] = each
    if not found:
        return
    names = list(dict.fromkeys(name for measures in found.values() for name in measures))
    top = scale_top((each.value for measures in found.values() for each in measures.values()), record.scale)
    rows = tuple(
        (cut_text(tag), *(shown_value(measures[name].value, top) if name in measures else "–" for name in names))
        for tag, measures in list(found.items())[:_MOST_TAGS]
    )
    more = f"{len(found) - _MOST_TAGS:,} more in measures.parquet" if len(found) > _MOST_TAGS else ""
    yield Table("Measures of each tag", ("tag", *names), rows, more, numbers_from=1, wide=True)


def _bar(label: str, measure: Measure, top: float) -> Bar:
    def place(value: float | None) -> float:
        return 100 * min(max((value or 0.0) / top, 0.0), 1.0)

    value = shown_value(measure.value, top)
    bar = Bar(cut_text(label) or "(empty)", value, 0, place(measure.value), f"{measure.n:,}")
    if measure.low is None:
        return bar
    return replace(bar, low=place(measure.low), high=place(measure.high), interval=_range(measure, top))


def _intervals(record: EvaluationRecord, level: str) -> str:
    clusters = record.interval.get("clusters")
    shared = f"; rows that share their {clusters} are counted as one cluster" if clusters else ""
    return f"With {level} intervals{shared}."


def _trust(found: Reliability | None) -> Section:
    if found is None:
        return Section("Trust")
    coverage = found.risk_coverage
    half = float(np.interp(0.5, coverage.coverage, coverage.risk))
    edges, right, wrong = (np.array(each) for each in astuple(found.histogram))
    middle = (edges[1:] + edges[:-1]) / 2
    return Section(
        "How far the scores can be trusted",
        f"{counted(found.n, 'row')} {'has' if found.n == 1 else 'have'} a score. Where it is calibrated, four in five "
        "of the answers with a score of 0.8 are right.",
        plots=(
            reliability_diagram(
                "Reliability",
                f"Expected calibration error {found.equal_width.error:.3f}: the mean distance to the diagonal. A point "
                "holds as many rows as the others; bars are 95 % intervals.",
                found.equal_mass,
            ),
            risk_coverage(
                "Risk and coverage",
                f"Of all rows {100 * coverage.risk[-1]:.1f} % are wrong; of the more confident half "
                f"{100 * half:.1f} %. Area {coverage.area:.3f}, lower is better.",
                coverage,
            ),
            histogram(
                "Scores by correctness",
                f"Mean score {_mean(middle, right)} where right, {_mean(middle, wrong)} where wrong.",
                edges,
                {"right": right, "wrong": wrong},
            ),
        ),
    )


def _mean(values: Floats, weights: Floats) -> str:
    return f"{np.average(values, weights=weights):.2f}" if weights.sum() else "–"


def _confusions(rows: EvaluatedRows) -> Iterator[Table]:
    pairs = rows.confusions(20)
    if pairs:
        texts = tuple((cut_text(truth), cut_text(given), f"{count:,}") for (truth, given), count in pairs)
        yield Table("Truth and what was read", ("truth", "read as", "rows"), texts, numbers_from=2)


def _errors(record: EvaluationRecord, rows: EvaluatedRows) -> Section:
    head = "code", "share of truth", "rows"
    codes = counted_bars("Rows that failed", head, record.errors, record.rows.get("truth", 0), tone="wrong")
    texts = tuple((cut_text(image), code, cut_text(question)) for code, image, question in rows.failures())
    table = Table("Examples", ("image", "code", "question"), texts, wide=True)
    return Section("Errors", bars=(codes,) if codes.bars else (), tables=(table,) if texts else ())
