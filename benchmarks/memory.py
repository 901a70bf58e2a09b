"""Peak memory of a run over few rows and over ten times as many."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from benchmarks import checkpoints, machine
from benchmarks.peak import MIB, peak_of
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from vqa_ray.catalog.write import write_catalogue
from vqa_ray.runs.directory import RunDirectory

_FEW, _TIMES, _ROUNDS = 2_000, 10, 1
_SEED = 5


def measure(settings: Settings) -> Measured:
    """MiB of both, their ratio, and what was spilled to disk."""
    few, rounds = settings.pick(_FEW, 50), settings.pick(_ROUNDS, 1)
    times = settings.pick(_TIMES, 2)
    model = checkpoints.BUNDLED if checkpoints.has_bundled() and not settings.quick else "fake:"
    inputs = {rows: settings.scratch / f"input-{rows}" for rows in (few, times * few)}
    for rows, input in inputs.items():
        write_catalogue(rows, _SEED, str(input), "parquet", rows_per_shard=few // 5)
    spilled: list[int] = []

    def run(rows: int) -> float:
        output = settings.scratch / f"output-{rows}-{len(spilled)}"
        command = [
            sys.executable,
            "-m",
            "vqa_ray.jobs.cli",
            "answer",
            "--input",
            str(inputs[rows]),
            "--output",
            str(output),
        ]
        command += ["--model", model, "--question", checkpoints.QUESTIONS[1]]
        peak = peak_of(command, machine.ROOT, settings.scratch / "log.txt")
        spilled.append(_spilled(output, rows))
        return peak / MIB

    measured = by_turns({str(rows): partial(run, rows) for rows in inputs}, rounds, warm_up=False)
    least, most = measured[str(few)], measured[str(times * few)]
    return Measured(
        [
            figure(f"peak memory of all processes, {few:,} images, {model}", least, "MiB"),
            figure(f"peak memory of all processes, {times * few:,} images, {model}", most, "MiB"),
            figure(f"{times} times the rows: peak memory to that of {few:,}", ratios(most, least), "×", at_most=1.15),
            figure("spilled to disk", [spilled_bytes / MIB for spilled_bytes in spilled], "MiB", at_most=0.0),
        ],
        [
            f"Rendered products in Parquet shards of {few // 5}, one question; {rounds} rounds. `vqa-ray answer` as a "
            "process of its own with its own local Ray.",
            "Sampled every 0.25 s over the command and every process of its Ray: private and file memory by its share "
            "(proportional set size of /proc/PID/smaps_rollup without shared memory), plus the pages that the object "
            "store really occupies.",
        ],
    )


def _spilled(output: Path, rows: int) -> int:
    """Bytes that Ray moved to disk, by the manifest of a whole run."""
    manifest = json.loads(Path(RunDirectory(str(output)).manifest).read_text(encoding="utf-8"))
    assert manifest["ok"] == rows, f"{manifest['ok']} of {rows} rows were answered"
    return int(manifest["timing"]["spilled_bytes"])
