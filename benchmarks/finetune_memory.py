"""Peak memory of a training over few rows and over ten times as many."""

from __future__ import annotations

import json
import sys
from functools import partial

from benchmarks import machine
from benchmarks.peak import MIB, peak_of
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from vqa_ray.catalog.write import write_catalogue

_FEW, _TIMES = 2_000, 10
_SEED = 6
_SHAPE = ("hidden_size=32", "layers=2", "heads=2", "intermediate_size=64", "patch_size=16", "shortest_edge=64")


def measure(settings: Settings) -> Measured:
    """MiB of both and their ratio."""
    few, times = settings.pick(_FEW, 60), settings.pick(_TIMES, 2)
    inputs = {rows: settings.scratch / f"input-{rows}" for rows in (few, times * few)}
    for rows, input in inputs.items():
        write_catalogue(rows, _SEED, str(input), "parquet", rows_per_shard=few // 5, questions=1)

    def run(rows: int) -> float:
        output = settings.scratch / f"output-{rows}"
        command = [
            sys.executable,
            "-m",
            "vqa_ray.jobs.cli",
            "finetune",
            "--input",
            str(inputs[rows]),
            "--output",
            str(output),
        ]
        command += ["--model", "scratch", "--epochs", "1", "--min-answer-count", "1", "--batch-size", "64"]
        command += [word for part in _SHAPE for word in ("--shape", part)]
        peak = peak_of(command, machine.ROOT, settings.scratch / "log.txt")
        content = json.loads((output / "_vqa_ray" / "manifest.json").read_text(encoding="utf-8"))
        assert content["rows"] + content["validation_rows"] == rows, f"{content['rows']} of {rows} rows"
        return peak / MIB

    measured = by_turns({str(rows): partial(run, rows) for rows in inputs}, 1, warm_up=False)
    least, most = measured[str(few)], measured[str(times * few)]
    return Measured(
        [
            figure(f"peak memory of a training, all processes, {few:,} rows", least, "MiB"),
            figure(f"peak memory of a training, all processes, {times * few:,} rows", most, "MiB"),
            figure(f"{times} times the rows: peak memory to that of {few:,}", ratios(most, least), "×", at_most=1.15),
        ],
        [
            "`vqa-ray finetune` of a small network from scratch on rendered products in Parquet shards of "
            f"{few // 5}, one epoch and its validation, sampled as in the benchmark `memory`.",
        ],
    )
