"""`python -m benchmarks.run [NAME …]`: measure, write docs/benchmarks.json and from it docs/benchmarks.md."""

from __future__ import annotations

import datetime
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import machine, report
from benchmarks.settings import Settings

# In this order; each is `benchmarks.NAME.measure(settings)`.
NAMES = (
    "parity",
    "engine",
    "decode",
    "pipeline",
    "start",
    "start_photos",
    "questions",
    "generative",
    "generative_run",
    "finetune",
    "finetune_memory",
    "memory",
    "listing",
    "bookkeeping",
    "driver",
    "actors",
    "accuracy",
    "vqa_metric",
    "evaluate",
    "familiarity",
    "retrieve",
    "taxonomy",
    "embed",
    "ann",
    "incremental",
    "nightly",
    "answer_cache",
    "search",
    "grocery_search",
    "structured",
    "gpu",
    "vllm_engine",
)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(NAMES)}; all without.")] = None,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes; the figures mean nothing.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Where to write; docs without, a temporary directory with --quick.")
    ] = None,
) -> None:
    """Measure side by side with what one would use otherwise; exits with 1 where a figure misses what is required."""
    chosen = list(names or NAMES)
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"unknown benchmark {unknown[0]!r}; known are {', '.join(NAMES)}")
    if output is None:
        output = Path(tempfile.mkdtemp(prefix="vqa-ray-benchmarks-")) if quick else machine.ROOT / "docs"
    if len(chosen) == 1:
        good = _measure(chosen[0], quick, output)
    else:
        # A process each: threads, caches and a Ray that one leaves behind do not reach the next.
        outcomes = [_in_a_process(name, quick, output) for name in chosen]
        good = all(outcomes)
    typer.echo(f"{output / report.TABLE_FILE}")
    raise typer.Exit(0 if good else 1)


def _in_a_process(name: str, quick: bool, output: Path) -> bool:
    command = [sys.executable, "-m", "benchmarks.run", name, "--output", str(output), *(["--quick"] if quick else [])]
    return subprocess.run(command, cwd=machine.ROOT, check=False).returncode == 0


def _measure(name: str, quick: bool, output: Path) -> bool:
    from transformers.utils.logging import disable_progress_bar

    typer.echo(f"{name} …")
    disable_progress_bar()
    described = machine.describe()
    date, begun = datetime.datetime.now(datetime.UTC).date().isoformat(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"vqa-ray-{name}-", ignore_cleanup_errors=True) as scratch:
        measured = importlib.import_module(f"benchmarks.{name}").measure(Settings(quick, Path(scratch)))
    command = f"python -m benchmarks.run {name}{' --quick' if quick else ''}"
    entry = report.result(
        measured,
        command=command,
        date=date,
        duration_s=time.monotonic() - begun,
        quick=quick,
        machine=described,
    )
    report.save(output, name, entry)
    for one in entry["figures"]:
        met = {None: "", True: "  ✓", False: "  ✗"}[one["met"]]
        typer.echo(f"  {one['what']}: {report.shown(one)}{met}")
    for note in entry["notes"]:
        typer.echo(f"  {note}")
    return all(one["met"] is not False for one in entry["figures"])


if __name__ == "__main__":
    typer.run(main)
