"""The report of a comparison: differences, wins, drift and the rows that flipped."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.helpers.coloured import picture
from tests.helpers.evaluations import evaluated, write_evaluation
from tests.unit.browse.site import HOSTILE, MARKUP
from tests.unit.report.test_gallery import Page
from tests.unit.report.test_report_page import check_self_contained
from vqa_ray.comparison.record import (
    FLIPPED,
    Comparison,
    Difference,
    Drift,
    Group,
    Input,
    McNemar,
    Pair,
    ScoreDrift,
    Share,
    Wins,
)
from vqa_ray.report.comparison_report import comparison_report
from vqa_ray.report.report_page import render_report
from vqa_ray.storage.atomic import write_table_atomic


def difference(low: float, high: float, group: Group | None = None) -> Difference:
    middle = (low + high) / 2
    return Difference("accuracy", 0.5, 0.5 + middle, middle, low, high, 0.0004, 100, 90, "analytic", group)


def flipped(key: str, first: str, second: str, truth: str | None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"pair": 1, "key": key, "image_id": key, "question": "what is it?", "truth": truth}
    for side, said in (("first", first), ("second", second)):
        row |= {
            f"{side}_prediction": said,
            f"{side}_score": None if truth is None else float(said == truth),
            f"{side}_confidence": 0.75,
        }
    return row | more


def write(place: Path, rows: list[dict[str, Any]], by: list[str], **record: Any) -> str:
    form = pa.schema([*FLIPPED, *(pa.field(name, pa.string()) for name in by)])
    write_table_atomic(str(place / "rows" / "part-0.parquet"), pa.Table.from_pylist(rows, form))
    usual: dict[str, Any] = {
        **{"kind": "runs", "version": "0", "job": "tag", "key": "image_id", "by": by, "seed": 0, "resamples": 10},
        "inputs": [Input("base", str(place / "base"), "fake:a", 100), Input("tuned", "nowhere", "fake:b", 101)],
    }
    found = Comparison(**usual | record)
    return render_report(comparison_report(str(place), found))


def test_two_evaluations(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(picture(0))
    (tmp_path / "base").mkdir()
    write_evaluation(tmp_path / "base", [evaluated("1", "a", "b")])
    pair = Pair(
        second=1,
        both=100,
        only_first=0,
        only_second=1,
        only_first_keys=[],
        only_second_keys=["x"],
        flipped=2,
        differences=[difference(0.02, 0.06), difference(-0.3, -0.1, Group("kind", "why"))],
        wins=[Wins(None, 3, 7, 90), Wins(Group("kind", "why"), 2, 0, 8)],
        mcnemar=McNemar(3, 7, 0.34),
        adjusted_p_value=0.012,
    )
    rows = [
        flipped("a", "cup", "mug", "mug", image_uri=str(tmp_path / "0.jpg"), kind="what"),
        flipped("b", "mug", "cup", "mug", kind="why"),
    ]
    text = write(
        tmp_path,
        rows,
        ["kind"],
        kind="evaluations",
        pairs=[pair],
        title="Exact match",
        headline="accuracy",
        notes=["n."],
    )
    check_self_contained(text)
    page = Page(text)
    for shown in (
        *("Exact match: base → tuned", "+0.0400", "95 %: +0.0200 – +0.0600", "0.5000 → 0.5400, 100 rows; p 0.012"),
        *("−0.2000", "accuracy by kind", "kind: why", "p 0.340", "2 rows differ", "only in the second", "n."),
    ):
        assert shown in page.text, shown
    assert page.text.count("✓ right") == page.text.count("✗ truth: mug") == 2
    assert len(page.all("img")) == 1
    assert 'class="fill right" style="--from:50.00;--to:83.33"' in text
    assert 'class="fill wrong" style="--from:50.00;--to:16.67"' in text


def test_two_runs(tmp_path: Path) -> None:
    scores = ScoreDrift(0.2, 0.05, [0, 0.5, 1], [3, 4], [5, 6])
    shares = [Share("red", 0.5, 0.25), Share("", 0.5, 0.75)]
    drift = [
        Drift("colour", "attribute", 0.3, 0.1, 100, 101, 100, 25, shares, scores, exceeds=True),
        Drift("error_code", "error_code", 0.01, 0.1, 100, 101, 100, 0, []),
    ]
    pair = Pair(1, 100, 2, 1, ["x"], ["y"], 1, drift=drift)
    text = write(tmp_path, [flipped("a", "red", "blue", None, first_error_code="image_missing")], [], pairs=[pair])
    check_self_contained(text)
    page = Page(text)
    for shown in (
        *("tag: base → tuned", "largest drift: tuned", "0.300", "exceeds the limit", "chance ≤ 0.100", "error_code"),
        *("50.0 %", "25.0 %", "-25.0", "Scores: colour", "image_missing", "blue", "only in the first"),
    ):
        assert shown in page.text, shown
    assert len(page.all("svg")) == 1
    assert "✗" not in page.text


def test_the_drift_of_all_questions_is_the_first_headline(tmp_path: Path) -> None:
    every = Drift("(all questions)", "question", 0.2, 0.3, 80, 80, 80, 44, [])
    one, lucky = (Drift(f"{n}?", "question", 1, n, 40, 40, 40, 40, []) for n in (0, 1))
    for drift, worst in (([every, one, lucky], True), ([every, lucky], False)):
        text = Page(write(tmp_path, [], [], pairs=[Pair(1, 80, 0, 0, [], [], 44, drift=drift)])).text
        assert text.index("drift: tuned") < text.index("44 of 80 flipped; chance alone gives up to 0.300")
        assert ("largest drift: tuned" in text) == worst


def test_data_stays_text(tmp_path: Path) -> None:
    drift = [Drift(MARKUP, "question", 0.3, 0.1, 1, 1, 1, 1, [Share(MARKUP, 0.5, 0.25)])]
    pair = Pair(1, 1, 0, 0, [], [], 9, differences=[difference(0, 0.1, Group(MARKUP, MARKUP))], drift=drift)
    pair.wins.append(Wins(Group(MARKUP, MARKUP), 1, 2, 3))
    rows = [flipped(text, text, MARKUP, text, kind=text) for text in HOSTILE]
    text = write(tmp_path, rows, ["kind"], pairs=[pair], title=MARKUP, notes=[MARKUP])
    check_self_contained(text)
    assert MARKUP not in text
    assert html.escape(MARKUP).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
    assert not [each for each in Page(text).elements if any(name.startswith("on") for name in each[1])]
