"""Plots as inline SVG of a page: drawn by Matplotlib, coloured by the variables of `page.css`, in light and dark alike.

Only numbers and our own words are drawn; text of the data stands in HTML beside a plot.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError
from vqa_ray.evaluation.reliability import Binned, RiskCoverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

# Matplotlib draws in colours that nothing else has; each becomes a variable of the page.
_COLOURS = {
    name: f"#00000{digit}"
    for digit, name in enumerate(("ink", "soft", "line", "accent", "right", "wrong", "bar", "warn"), 1)
}
_INCHES = (3.7, 2.5)
_RC: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.edgecolor": _COLOURS["soft"],
    "axes.labelcolor": _COLOURS["soft"],
    "xtick.color": _COLOURS["soft"],
    "ytick.color": _COLOURS["soft"],
    "text.color": _COLOURS["ink"],
    "grid.color": _COLOURS["line"],
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of a page.

    Attributes:
        title: of the figure.
        about: how to read it, with its main numbers: what a screen reader says, and its caption.
        svg: an `svg` element; holds no text of the data.
    """

    title: str
    about: str
    svg: str


def check_plots() -> None:
    """Check before any work that plots can be drawn.

    Raises:
        RequestError: Matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise RequestError("a report needs Matplotlib, which is not installed: pip install 'vqa-ray[report]'")


def histogram(title: str, about: str, edges: Floats, counts: dict[str, Floats], x_label: str = "score") -> Plot:
    """Draw how the scores of each group are spread: the share of its rows in each bin.

    Args:
        title: of the figure.
        about: its caption.
        edges: float64 (B + 1,).
        counts: group → float64 (B,), rows; groups called `right` and `wrong` have their colours.
        x_label: of the horizontal axis.
    """
    with _axes(title) as (axes, drawn):
        for name, values in counts.items():
            colour = _COLOURS[name if name in ("right", "wrong") else "accent"]
            share = 100 * values / max(values.sum(), 1)
            axes.stairs(share, edges, color=colour, fill=True, alpha=0.25)
            axes.stairs(share, edges, color=colour, label=name, linewidth=1.4)
        axes.set(xlabel=x_label, ylabel="% of rows" if len(counts) == 1 else "% of rows of each", xlim=edges[[0, -1]])
        axes.grid(axis="x", visible=False)
        if len(counts) > 1:
            _legend(axes)
    return Plot(title, about, drawn.getvalue())


def overlaid(title: str, about: str, edges: Floats, first: Floats, second: Floats) -> Plot:
    """Draw how the scores of two runs are spread: the first filled, the second as a line; see `histogram`."""
    with _axes(title) as (axes, drawn):
        axes.stairs(100 * first / max(first.sum(), 1), edges, color=_COLOURS["bar"], fill=True, label="first")
        axes.stairs(100 * second / max(second.sum(), 1), edges, color=_COLOURS["ink"], linewidth=1.4, label="second")
        axes.set(xlabel="score", ylabel="% of rows of each", xlim=edges[[0, -1]])
        axes.grid(axis="x", visible=False)
        _legend(axes)
    return Plot(title, about, drawn.getvalue())


def reliability_diagram(title: str, about: str, binned: Binned) -> Plot:
    """Draw accuracy over confidence, with intervals, and the diagonal on which a calibrated score lies."""
    with _axes(title) as (axes, drawn):
        axes.plot([0, 1], [0, 1], color=_COLOURS["soft"], linestyle="--", linewidth=1, label="calibrated")
        x, y = [each.confidence for each in binned.bins], np.array([each.accuracy for each in binned.bins])
        limits = [[each.accuracy_low for each in binned.bins], [each.accuracy_high for each in binned.bins]]
        reach = np.abs(np.array(limits) - y)
        axes.errorbar(x, y, reach, color=_COLOURS["accent"], marker="o", capsize=2, elinewidth=1, label="these rows")
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        _legend(axes)
    return Plot(title, about, drawn.getvalue())


def risk_coverage(title: str, about: str, curve: RiskCoverage) -> Plot:
    """Draw the share of wrong answers among the most confident ones, over the share of rows that they are."""
    with _axes(title) as (axes, drawn):
        axes.plot(curve.coverage, curve.risk, color=_COLOURS["accent"])
        top = max(0.02, max(curve.risk) * 1.1)
        axes.set(
            xlabel="share of rows answered, most confident first", ylabel="share wrong", xlim=(0, 1), ylim=(0, top)
        )
    return Plot(title, about, drawn.getvalue())


def curve(title: str, about: str, points: Sequence[tuple[float, float]], labels: tuple[str, str]) -> Plot:
    """Draw one line from zero on; `labels` are those of the axes."""
    x, y = zip(*points, strict=True)
    with _axes(title) as (axes, drawn):
        axes.plot(x, y, color=_COLOURS["accent"])
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, max(x)), ylim=(0, max(1, *y) * 1.05))
    return Plot(title, about, drawn.getvalue())


def _legend(axes: Axes) -> None:
    """Name the series above the axes, where no line crosses the names."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, handlelength=1.4)


@contextmanager
def _axes(key: str) -> Iterator[tuple[Axes, io.StringIO]]:
    """Yield axes, and where the SVG element stands once the block has ended."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = io.StringIO()
    # The names of its clip paths differ from those of other plots on the page.
    with mpl.rc_context(_RC | {"svg.hashsalt": key}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        yield figure.subplots(), drawn
        raw = io.StringIO()
        figure.savefig(
            raw, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    drawn.write(_element(raw.getvalue()))


def _element(document: str) -> str:
    """Cut the `svg` element out of a document: of the width of its place, in colours of the page."""
    text = document[document.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="\w+_\d+"| font-family: [^;"]*;| (?:width|height)="[\d.]+pt"', "", text)
    for name, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"\s*\n\s*", " ", text).strip()
