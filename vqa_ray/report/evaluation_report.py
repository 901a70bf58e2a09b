"""The report of an evaluation: the numbers with their intervals, how far scores can be trusted, what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vqa_ray.report.evaluated_rows import EvaluatedRows
from vqa_ray.report.evaluation_cards import evaluation_cards
from vqa_ray.report.gallery import Fact
from vqa_ray.report.plots import Plot, histogram, reliability, risk_coverage
from vqa_ray.report.report_page import MOST_BARS, Bar, Bars, Headline, Report, Section, Table, counted_bars
from vqa_ray.report.run_gallery import cut_text
from vqa_ray.report.run_tally import EDGES
from vqa_ray.storage.uri import name_of, redacted_uri

_MISTAKES, _UNPARSED = 24, 8
_HEADLINES = 4
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

Measure = Mapping[str, Any]


def evaluation_report(uri: str, content: Mapping[str, Any], *, allow_http: bool = False) -> Report:
    """Make the report of an evaluation.

    Args:
        uri: of its directory.
        content: of its `evaluation.json`.
        allow_http: whether images are fetched from the web.
    """
    rows = EvaluatedRows.read(uri)
    overall = [each for each in content["measures"] if not each.get("group")]
    first = [each for each in overall if each["name"] == content["headline"]]
    level = 100 * content["interval"]["level"]
    shown = {"predictions": content["predictions"], "by": content["by"], "allow_http": allow_http}
    headlines = [*first, *(each for each in overall if each not in first)]
    return Report(
        title=f"{content['title']}: {name_of(content['predictions'])}",
        about=f"{content['job']} by {redacted_uri(str(content['model']))}, judged by {content['protocol']} against "
        f"{redacted_uri(str(content['truth']))}.",
        headlines=tuple(_headline(each, level) for each in headlines[:_HEADLINES]),
        facts=tuple(
            Fact(text, f"{content['rows'][name]:,}")
            for name, text in _COUNTS.items()
            if content["rows"].get(name) or name in ("truth", "judged")
        ),
        notes=tuple(content.get("notes", ())),
        sections=(
            Section("All measures", bars=tuple(_overall(headlines)) if overall[1:] else ()),
            Section("Broken down", _intervals(content), bars=tuple(_breakdowns(content))),
            Section("How far the scores can be trusted", _trust(rows), plots=tuple(_plots(rows))),
            Section(
                "Most confident mistakes",
                "Wrong answers with the highest scores: wrong truth, an ambiguous question, or a model that is misled.",
                cards=tuple(evaluation_cards(rows.mistakes(_MISTAKES), **shown)),
            ),
            Section("Most frequent mistakes", tables=tuple(_confusions(rows))),
            Section(
                "Not readable",
                "Predictions that are no answer of the wanted kind; they count as wrong.",
                cards=tuple(evaluation_cards(rows.unparsed(_UNPARSED), **shown)),
            ),
            _errors(content, rows),
        ),
        manifest={name: value for name, value in content.items() if name != "measures"},
    )


def shown_value(value: float | None, top: float) -> str:
    """Return a measure as text: of a scale to 1 with four digits, to 100 with two, else with one."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.4f}" if top <= 1 else f"{value:.2f}" if top <= 100 else f"{value:,.1f}"


def scale_top(measures: Sequence[Measure]) -> float:
    """Return the end of the scale of measures in one unit: 1, 100, or the highest value."""
    highest = max((float(each["value"]) for each in measures if each["value"] is not None), default=1.0)
    return 1.0 if highest <= 1 else 100.0 if highest <= 100 else highest


def _headline(measure: Measure, level: float) -> Headline:
    top = scale_top([measure])
    interval = f"{level:.0f} %: {_range(measure, top)}" if measure.get("low") is not None else ""
    return Headline(measure["name"], shown_value(measure["value"], top), interval, f"{measure['n']:,} rows")


def _range(measure: Measure, top: float) -> str:
    return f"{shown_value(measure['low'], top)} – {shown_value(measure['high'], top)}"


def _overall(measures: Sequence[Measure]) -> Iterator[Bars]:
    """One table for each scale: a share and a number of points do not share an axis."""
    by_top: dict[float, list[Measure]] = {}
    for each in measures:
        by_top.setdefault(scale_top([each]), []).append(each)
    for top, alike in by_top.items():
        yield Bars("All rows", ("measure", "value", "rows"), tuple(_bar(each["name"], each, top) for each in alike))


def _breakdowns(content: Mapping[str, Any]) -> Iterator[Bars]:
    """One table for each column and measure, the headline first; groups with the most rows first."""
    found: dict[tuple[str, str], list[Measure]] = {}
    for each in content["measures"]:
        if each.get("group"):
            found.setdefault((each["group"]["column"], each["name"]), []).append(each)
    for (column, name), measures in sorted(found.items(), key=lambda pair: pair[0][1] != content["headline"]):
        top = scale_top(measures)
        ordered = sorted(measures, key=lambda each: -each["n"])
        bars = tuple(_bar(str(each["group"]["value"]), each, top) for each in ordered[:MOST_BARS])
        yield Bars(f"{name} by {column}", (column, name, "rows"), bars, more=max(0, len(ordered) - MOST_BARS))


def _bar(label: str, measure: Measure, top: float) -> Bar:
    def place(value: float | None) -> float:
        return 100 * min(max((value or 0.0) / top, 0.0), 1.0)

    value, low = measure["value"], measure.get("low")
    stop = place(value if value is not None and np.isfinite(value) else 0.0)
    bar = Bar(cut_text(label), shown_value(value, top), 0, stop, f"{measure['n']:,}")
    if low is None:
        return bar
    return replace(bar, low=place(low), high=place(measure["high"]), interval=_range(measure, top))


def _intervals(content: Mapping[str, Any]) -> str:
    clusters = content["interval"].get("clusters")
    shared = f"; rows that share their {clusters} are counted as one cluster" if clusters else ""
    return f"With {100 * content['interval']['level']:.0f} % intervals{shared}."


def _trust(rows: EvaluatedRows) -> str:
    if not len(rows.confidence):
        return ""
    return (
        f"{len(rows.confidence):,} judged rows have a score. Where it is calibrated, four in five of the answers "
        "with a score of 0.8 are right."
    )


def _plots(rows: EvaluatedRows) -> Iterator[Plot]:
    confidence, right = rows.confidence, rows.right
    if not len(confidence):
        return
    bins, error = rows.reliability()
    yield reliability(
        "Reliability",
        f"Expected calibration error {error:.3f}: the mean distance to the diagonal. Bars are 95 % intervals.",
        bins,
    )
    coverage, risk, area = rows.risk_coverage()
    yield risk_coverage(
        "Risk and coverage",
        f"Of all rows {100 * risk[-1]:.1f} % are wrong; of the more confident half "
        f"{100 * np.interp(0.5, coverage, risk):.1f} %. Area {area:.3f}, lower is better.",
        coverage,
        risk,
    )
    counts = {
        name: np.histogram(np.clip(confidence[right == is_right], 0, 1), EDGES)[0].astype(np.float64)
        for name, is_right in (("right", 1), ("wrong", 0))
    }
    yield histogram(
        "Scores by correctness",
        f"Mean score {_mean(confidence[right == 1])} where right, {_mean(confidence[right == 0])} where wrong.",
        EDGES,
        counts,
    )


def _mean(values: Any) -> str:
    return f"{values.mean():.2f}" if len(values) else "–"


def _confusions(rows: EvaluatedRows) -> Iterator[Table]:
    pairs = rows.confusions(20)
    if pairs:
        texts = tuple((cut_text(truth), cut_text(given), f"{count:,}") for (truth, given), count in pairs)
        yield Table("Truth and what was read", ("truth", "read as", "rows"), texts, numbers_from=2)


def _errors(content: Mapping[str, Any], rows: EvaluatedRows) -> Section:
    codes = counted_bars(
        "Rows that failed",
        ("code", "share of truth", "rows"),
        content["errors"],
        content["rows"]["truth"],
        tone="wrong",
    )
    texts = tuple((cut_text(image), code, cut_text(question)) for code, image, question in rows.failures())
    table = Table("Examples", ("image", "code", "question"), texts)
    return Section("Errors", bars=(codes,) if codes.bars else (), tables=(table,) if texts else ())
