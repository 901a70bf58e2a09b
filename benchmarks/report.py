"""Results as JSON, and the Markdown table made from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread

JSON_FILE, TABLE_FILE = "benchmarks.json", "benchmarks.md"
_HEAD = """# Measured figures

Made by `make bench` from `benchmarks.json`; do not edit. A figure is the median over rounds, with the least and the
most in brackets. Ratios are taken within a round, in which all contestants have one turn after another. "Met" compares
the median with what is required.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: what was measured, for a reader who does not know the code.
        spread: over the rounds.
        unit: follows the number: `×`, `pairs/s`, `MiB`.
        at_least, at_most: what is required of the median; neither, where the figure is for information.
    """

    what: str
    spread: Spread
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median is as required; None where nothing is."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.spread.median >= self.at_least
        return above and (self.at_most is None or self.spread.median <= self.at_most)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a benchmark found.

    Attributes:
        figures: may be none, where there is nothing to measure on.
        notes: a sentence each: what exactly is timed, on what data, or why there are no figures.
    """

    figures: Sequence[Figure]
    notes: Sequence[str] = field(default_factory=tuple)


def figure(
    what: str,
    values: Sequence[float],
    unit: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """Return a figure of repeated measurements."""
    return Figure(what, Spread.of(values), unit, at_least, at_most)


def result(
    measured: Measured, *, command: str, date: str, duration_s: float, quick: bool, machine: Mapping[str, str]
) -> dict[str, Any]:
    """Return a benchmark's entry in the JSON file."""
    return {
        "command": command,
        "date": date,
        "duration_s": round(duration_s, 1),
        "quick": quick,
        "machine": dict(machine),
        "notes": list(measured.notes),
        "figures": [{**asdict(one), "met": None if quick else one.met} for one in measured.figures],
    }


def save(directory: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put one benchmark's entry into the JSON file, keep the others, and write the table again."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JSON_FILE
    entries = load(path)
    entries[name] = dict(entry)
    _replace(path, json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    _replace(directory / TABLE_FILE, table(entries))


def load(path: Path) -> dict[str, Any]:
    """Entries by benchmark; none when the file does not exist."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the whole Markdown page."""
    lines = [_HEAD, "| what | figure | required | met | command | date |", "|---|---|---|---|---|---|"]
    for entry in entries.values():
        where = f"`{entry['command']}` | {entry['date']}"
        for one in entry["figures"]:
            met = "" if one["met"] is None else "yes" if one["met"] else "**no**"
            cells = (_cell(one["what"]), shown(one), _required(one), met, where)
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## What is timed"]
    for name, entry in entries.items():
        smoke = " **Smoke test with `--quick`: these figures mean nothing.**" if entry["quick"] else ""
        lines += ["", f"### {name}", "", *(f"- {note}" for note in entry["notes"])]
        machine = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in entry["machine"].items())
        lines.append(f"- Took {entry['duration_s']:.0f} s on: {machine}.{smoke}")
    return "\n".join(lines) + "\n"


def shown(one: Mapping[str, Any]) -> str:
    """`1.84 × (1.80 – 1.91)`."""
    low, median, high = (one["spread"][name] for name in ("low", "median", "high"))
    unit = f" {one['unit']}" if one["unit"] else ""
    text = f"{number(median)}{unit}"
    return text if low == high else f"{text} ({number(low)} – {number(high)})"


def number(value: float) -> str:
    """Three significant digits; whole from 1,000 on; the rest of a very small one as a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1000:
        return f"{value:#.3g}".rstrip(".") if value else "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


def _required(one: Mapping[str, Any]) -> str:
    bounds = (("≥", one["at_least"]), ("≤", one["at_most"]))
    return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _replace(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
