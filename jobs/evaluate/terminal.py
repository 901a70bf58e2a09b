"""An evaluation on the terminal: the measures with their intervals, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from vqa_ray.counted import counted
from vqa_ray.errors import one_line
from vqa_ray.evaluation.power import POWER, rows_for_difference, rows_for_interval
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.judging.record import EvaluationRecord, Measure

_NAME = 34
_WIDTH = 80
_LARGE = 10
# Measures on a terminal, in all and at least of each column.
_MEASURES, _MEASURES_OF_COLUMN = 20, 3


def print_record(record: EvaluationRecord, spec: EvaluateSpec) -> None:
    """Print an evaluation as the command asks.

    Args:
        record: the evaluation.
        spec: of the command: `format`, `labels_needed`, `output`.
    """
    needed = None if spec.labels_needed is None else labels_needed(record, spec.labels_needed)
    if spec.format == "json":
        content = record.to_dict() | ({} if needed is None else {"labels_needed": needed})
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return
    _print_table(record, spec.output)
    if needed is not None:
        sys.stdout.write("\n" + "\n".join(_told_needed(needed)) + "\n")


def labels_needed(record: EvaluationRecord, half_width: float) -> dict[str, Any]:
    """Return how many rows an interval of the mean score of this half-width takes.

    Args:
        record: whose rows tell how much scores differ and how alike those of an image are.
        half_width: 0..1.
    """
    interval = record.interval
    first, design = record.first, float(interval["design_effect"])
    # Where all are right, or all wrong, by Laplace's rule of succession: the next one may differ.
    variance = float(interval["variance"]) or (first.n + 1) / (first.n + 2) ** 2
    rows = rows_for_interval(half_width, variance, design)
    return {
        "half_width": half_width,
        "rows": rows,
        "images": -(-rows * first.clusters // max(first.n, 1)),
        "rows_here": first.n,
        "images_here": first.clusters,
        "design_effect": design,
        "rows_for_difference": rows_for_difference(half_width, 2 * variance, design),
        "power": POWER,
    }


def _told_needed(needed: dict[str, Any]) -> list[str]:
    width = needed["half_width"]
    return [
        f"for ± {width:g} of the mean score (95 %): {counted(needed['rows'], 'labelled row')}, "
        f"{counted(needed['images'], 'image')};",
        f"  here are {counted(needed['rows_here'], 'row')} of {counted(needed['images_here'], 'image')}, design effect "
        f"{needed['design_effect']:.2f}",
        f"to see a difference of {width:g} between two models ({needed['power']:.0%} power): at most "
        f"{needed['rows_for_difference']:,}",
        "  labelled rows; fewer where both err on the same rows (vqa-ray compare tells)",
    ]


def _print_table(record: EvaluationRecord, output: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    counts = record.rows
    of_model = f" ({record.model})" if record.model else ""
    truth = record.truth or "columns of the run"
    _print_lines(record.title, f"{record.predictions}{of_model}", f"truth: {truth}, joined by {record.key}", "")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for head in ("value", "95 % interval", "rows", "images"):
        table.add_column(head, justify="right", no_wrap=True)
    group: object = None
    for each in shown_measures(record):
        own = each.group.column if each.group is not None else None
        if own != group:
            table.add_row()
            table.add_row(Text(f"by {own}"))
            group = own
        table.add_row(Text(_name(each, record)), *map(Text, _cells(each, record.scale)))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH, highlight=False).print(table)
    outcomes = " · ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items() if count)
    errors = " · ".join(f"{code} {count:,}" for code, count in record.errors.items())
    notes = [f"note: {note}" for note in record.notes]
    if left_out := len(record.measures) - len(shown_measures(record)):
        notes.append(f"note: {left_out:,} more measures are in measures.parquet and evaluation.json")
    lines = ["", f"rows: {outcomes}", *([f"errors: {errors}"] if errors else [])]
    if (found := record.calibration) is not None:
        wrong = 100 * np.interp((0.5, 1), found.risk_coverage.coverage, found.risk_coverage.risk)
        lines.append(
            f"scores of {counted(found.n, 'row')}: expected calibration error {found.equal_width.error:.3f}; "
            f"wrong: {wrong[1]:.1f} % of them, {wrong[0]:.1f} % of the half with the highest scores"
        )
    _print_lines(*lines, *notes, f"→ {output}")


def shown_measures(record: EvaluationRecord) -> list[Measure]:
    """Return some 20 measures for a terminal: the first ones of all rows; of each column those of the largest groups.

    Of a group the headline comes before other measures.
    """
    if len(record.measures) <= _MEASURES:
        return list(record.measures)
    columns: dict[str | None, list[Measure]] = {}
    for each in record.measures:
        columns.setdefault(None if each.group is None else each.group.column, []).append(each)
    shown: list[Measure] = []
    for number, found in enumerate(columns.values()):
        share = max((_MEASURES - len(shown)) // (len(columns) - number), _MEASURES_OF_COLUMN)
        if found[0].group is None:
            shown += found[:share]
        else:
            order = sorted(range(len(found)), key=lambda at: (found[at].name != record.headline, -found[at].n))
            shown += [found[at] for at in sorted(order[:share])]
    return shown


def _print_lines(*lines: str) -> None:
    """Print lines, which the terminal wraps; names in them may hold line breaks and control sequences."""
    sys.stdout.writelines(f"{one_line(line, 1000)}\n" for line in lines)


def _name(each: Measure, record: EvaluationRecord) -> str:
    if each.group is None:
        return one_line(each.name, _NAME)
    of = "" if each.name == record.headline else f" {each.name}"
    return f"  {one_line(each.group.value + of, _NAME)}"


def _cells(each: Measure, scale: float) -> Sequence[str]:
    interval = (
        "" if each.low is None or each.high is None else f"{_number(each.low, scale)} - {_number(each.high, scale)}"
    )
    return _number(each.value, scale), interval, f"{each.n:,}", f"{each.clusters:,}"


def _number(value: float | None, scale: float) -> str:
    if value is None:
        return "n/a"
    return f"{value:.2f}" if scale > 1 or abs(value) >= _LARGE else f"{value:.4f}"
