"""A comparison as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from vqa_ray.comparison.record import Comparison, Difference, Pair
from vqa_ray.errors import one_line

_WIDTH = 36
_MOST_DRIFTS = 30


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the figures of each pair."""
    names = [each.name for each in comparison.inputs]
    for pair in comparison.pairs:
        first, second = names[0], names[pair.second]
        yield f"{second} beside {first}: {counted_rows(pair.both)} in both{_alone(pair.only_first, first)}" + _alone(
            pair.only_second, second
        )
        yield from _of_truth(pair, first, second) if comparison.kind == "evaluations" else _of_drift(pair)


def counted_rows(count: int) -> str:
    """Write a number of rows: `1 row`, `2 rows`."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def _alone(rows: int, name: str) -> str:
    return f", {rows:,} only in {name}" if rows else ""


def _of_truth(pair: Pair, first: str, second: str) -> Iterator[str]:
    yield f"  {'':{_WIDTH}} {'first':>8} {'second':>8} {'difference (95 %)':>28} {'p':>8}"
    shown = [each for each in pair.differences if "[" not in each.name]
    for each in shown:
        yield f"  {_name(each):{_WIDTH}} {_number(each.first):>8} {_number(each.second):>8} {_interval(each):>28} " + (
            f"{_p(each.p_value):>8}"
        )
    if left_out := len(pair.differences) - len(shown):
        yield f"  {left_out} more measures are in comparison.json"
    if pair.adjusted_p_value is not None and pair.adjusted_p_value != pair.p_value:
        yield f"  p of no difference, adjusted for all pairs (Holm): {_p(pair.adjusted_p_value)}"
    if pair.mcnemar is not None:
        yield (
            f"  right in {first} only: {counted_rows(pair.mcnemar.first_only)}; in {second} only: "
            f"{pair.mcnemar.second_only:,} (McNemar p {_p(pair.mcnemar.p_value)})"
        )
    wins = pair.wins[0]
    yield f"  better in {first}: {counted_rows(wins.first)}; in {second}: {wins.second:,}; alike: {wins.ties:,}"


def _of_drift(pair: Pair) -> Iterator[str]:
    yield f"  {'':{_WIDTH}} {'drift':>7} {'by chance':>10} {'scores':>7} {'flipped rows':>20}"
    for each in pair.drift[:_MOST_DRIFTS]:
        scores = "" if each.scores is None else f"{each.scores.value:.3f}"
        mark = "  > --max-drift" if each.exceeds else ""
        flipped = f"{each.flipped:,} of {each.both:,}"
        yield (
            f"  {one_line(each.name, _WIDTH):{_WIDTH}} {each.value:7.3f} {each.noise:10.3f} {scores:>7} {flipped:>20}"
            + mark
        )
    if left_out := pair.drift[_MOST_DRIFTS:]:
        yield f"  {len(left_out)} more are in comparison.json"


def _name(each: Difference) -> str:
    name = each.name if each.group is None else f"  {each.group.column} = {each.group.value}"
    return one_line(name, _WIDTH)


def _interval(each: Difference) -> str:
    if each.difference is None:
        return "-"
    if each.low is None or each.high is None:
        return f"{each.difference:+.4f}"
    return f"{each.difference:+.4f} ({each.low:+.4f} to {each.high:+.4f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.0001" if value < 1e-4 else f"{value:.4f}"
