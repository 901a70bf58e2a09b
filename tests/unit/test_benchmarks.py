"""The arithmetic of the benchmarks and the table that is made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import limit, peak, report
from benchmarks.actors import Call, busy_cores, rate_together
from benchmarks.catalog_queries import KINDS, all_queries
from benchmarks.driver import Cost, extrapolated
from benchmarks.report import Figure, Measured, figure
from benchmarks.timing import Spread, by_turns, rates, ratios, steady_rate
from vqa_ray.catalog.product import sample_product

MACHINE = {"cpu": "a processor, 2 cores", "revision": "abc1234"}


def entry(*figures: Figure, quick: bool = False, command: str = "python -m benchmarks.run engine") -> dict[str, object]:
    measured = Measured(figures, ["Photos."])
    return report.result(measured, command=command, date="2026-11-21", duration_s=12.34, quick=quick, machine=MACHINE)


def rows_of(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")] for line in lines[1:]]


def test_contestants_take_turns_and_the_warm_up_does_not_count() -> None:
    turns: list[str] = []

    def turn(name: str) -> int:
        turns.append(name)
        return len(turns)

    results = by_turns({"a": lambda: turn("a"), "b": lambda: turn("b")}, 2)
    assert turns == ["a", "b"] * 3
    assert results == {"a": [3, 5], "b": [4, 6]}
    assert by_turns({"a": lambda: turn("a")}, 1, warm_up=False) == {"a": [7]}


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_a_spread_is_ordered_and_of_values_that_were_given(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.low <= spread.median <= spread.high
    assert {spread.low, spread.high} <= set(values)


def test_a_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Spread.of([])


def test_ratios_are_taken_within_a_round() -> None:
    slow, fast = [2.0, 8.0, 3.0], [1.0, 2.0, 3.0]
    assert ratios(slow, fast) == [2.0, 4.0, 1.0]
    assert rates(10, [2.0, 5.0]) == [5.0, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios(slow, fast[:2])


def test_the_steady_rate_leaves_start_up_out_and_does_not_mind_pairs() -> None:
    start_up = 100.0
    one_by_one = [(start_up + index, 32) for index in range(1, 13)]
    assert steady_rate(one_by_one) == pytest.approx(32)
    # Batches that run two at a time end two at a time; from first to last it would seem 10 % faster.
    in_pairs = [(start_up + 2 * (index // 2 + 1), 32) for index in range(12)]
    assert steady_rate(in_pairs) == pytest.approx(32, rel=0.02)


@pytest.mark.parametrize("files", [[], [(1.0, 5)], [(1.0, 5), (2.0, 5)], [(1.0, 5)] * 4])
def test_too_few_files_have_no_steady_rate(files: list[tuple[float, int]]) -> None:
    assert steady_rate(files) is None


@pytest.mark.parametrize(
    ("at_least", "at_most", "met"),
    [
        (None, None, None),
        (2.0, None, True),
        (2.1, None, False),
        (None, 2.0, True),
        (None, 1.9, False),
        (1.0, 1.5, False),
    ],
)
def test_the_median_is_what_is_required(at_least: float | None, at_most: float | None, met: bool | None) -> None:
    assert figure("speed", [1.0, 2.0, 9.0], "×", at_least=at_least, at_most=at_most).met is met


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1.00"),
        (0.8567, "0.857"),
        (12.345, "12.3"),
        (345.6, "346"),
        (21234.5, "21,234"),
        (3.31e-6, "3.3e-06"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_the_table_has_a_line_per_figure_with_command_and_date(tmp_path: Path) -> None:
    figures = (
        figure("the engine | bfloat16", [3.4, 3.6, 3.5], "×", at_least=3.5),
        figure("difference", [2e-4], at_most=1e-4),
        figure("transformers", [4.0], "pairs/s"),
    )
    report.save(tmp_path, "engine", entry(*figures))
    page = (tmp_path / report.TABLE_FILE).read_text()
    run = ["`python -m benchmarks.run engine`", "2026-11-21"]
    assert rows_of(page) == [
        ["the engine ¦ bfloat16", "3.50 × (3.40 – 3.60)", "≥ 3.5", "yes", *run],
        ["difference", "2.0e-04", "≤ 0.0001", "**no**", *run],
        ["transformers", "4.00 pairs/s", "", "", *run],
    ]
    assert "a processor, 2 cores, revision abc1234" in page


def test_a_new_measurement_replaces_its_own_lines_only(tmp_path: Path) -> None:
    report.save(tmp_path, "engine", entry(figure("old", [1.0])))
    report.save(tmp_path, "decode", entry(figure("other", [2.0])))
    report.save(tmp_path, "engine", entry(figure("new", [3.0])))
    saved = json.loads((tmp_path / report.JSON_FILE).read_text())
    assert [one["what"] for each in saved.values() for one in each["figures"]] == ["new", "other"]
    assert [row[0] for row in rows_of((tmp_path / report.TABLE_FILE).read_text())] == ["new", "other"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [report.JSON_FILE, report.TABLE_FILE]


def test_a_smoke_test_is_never_judged_and_says_what_it_is(tmp_path: Path) -> None:
    smoke = entry(figure("speed", [0.1], at_least=5.0), quick=True)
    assert smoke["figures"][0]["met"] is None  # type: ignore[index]
    assert "these figures mean nothing" in report.table({"engine": smoke})


def test_attention_on_a_cpu_is_counted() -> None:
    batch, heads, length, width = 2, 3, 40, 16
    query = torch.randn(batch, heads, length, width)
    with torch.inference_mode():
        counted = limit.count_flops(lambda: torch.nn.functional.scaled_dot_product_attention(query, query, query))
    assert counted == 2 * 2 * batch * heads * length * length * width


def test_the_rate_of_a_pool_is_counted_while_all_of_it_works() -> None:
    """One actor starts late, and one pauses for a second: 10 rows a second each, but for the pause."""
    early = [Call(1, float(second), second + 1.0, 10) for second in range(12)]
    late = [Call(2, float(second), second + 1.0, 10) for second in range(4, 12) if second != 7]
    assert rate_together(early) == pytest.approx(10)
    # From the fifth second to the eleventh: six calls of the one, five of the other.
    assert rate_together([*late, *early]) == pytest.approx(110 / 6)
    halves = [Call(3, second + 0.5, second + 1.5, 10) for second in range(12)]
    assert rate_together([*early, *halves]) == pytest.approx(20)
    with pytest.raises(ValueError, match="2 actors are never at work together"):
        rate_together([early[0], late[0]])
    # Half a core until the fifth second, then one and a half.
    worked = [call._replace(busy_s=max(0.5 * call.ended_s, 1.5 * call.ended_s - 5)) for call in early]
    assert busy_cores([*worked, *(call._replace(busy_s=1.5 * call.ended_s - 5) for call in late)]) == pytest.approx(1.5)


def test_a_cost_is_extrapolated_on_a_line() -> None:
    fewer, more = Cost(1_000_000, 70.0, 1.5e9), Cost(4_000_000, 250.0, 1.8e9)
    assert extrapolated(fewer, more, 16_000_000) == pytest.approx((16_000_000, 970.0, 3.0e9))


def test_memory_shared_with_the_object_store_is_not_counted_with_a_process() -> None:
    lines = ("00400000-7ffe000 ---p 00000000 00:00 0  [rollup]", "Rss: 900 kB", "Pss: 500 kB", "Pss_Shmem: 120 kB")
    assert peak.own_bytes("\n".join(lines)) == 380 * 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc/PID/smaps_rollup here")
def test_a_peak_is_that_of_the_whole_family_of_processes(tmp_path: Path) -> None:
    hold = "import time; kept = bytearray(b'x') * {bytes}; {then}; time.sleep(1)"
    child = hold.format(bytes=80 * peak.MIB, then="pass")
    parent = hold.format(
        bytes=40 * peak.MIB, then=f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    most = peak.peak_of([sys.executable, "-c", parent], tmp_path, tmp_path / "log.txt")
    assert 120 * peak.MIB < most < 200 * peak.MIB


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3: no such thing"):
        peak.peak_of(
            [sys.executable, "-c", "print('no such thing'); raise SystemExit(3)"], tmp_path, tmp_path / "log.txt"
        )


def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "engin"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "unknown benchmark 'engin'" in done.stderr
    assert "parity, engine" in done.stderr


def test_queries_are_those_of_their_kind_and_each_fits_what_it_names() -> None:
    queries = all_queries()
    texts = [query.text for query in queries]
    assert len(set(texts)) == len(texts) == 15 * 10 + 15 * 8 + 5 * 10 * 15
    assert set(KINDS) <= set(texts)
    products = [sample_product(9, index) for index in range(200)]
    for query in queries[::17]:
        for product in products:
            assert query.fits(product) == all(getattr(product, name) == value for name, value in query.wanted)
    assert "a pair of trousers with a car" in texts
    assert "a striped orange umbrella" in texts
