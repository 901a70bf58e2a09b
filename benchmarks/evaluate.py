"""`vqa-ray evaluate` by VQA accuracy: how long a million answers take, and how much memory beside a tenth of them."""

from __future__ import annotations

import json
import random
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine
from benchmarks.peak import MIB, peak_of
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings, cores
from benchmarks.timing import by_turns, ratios
from benchmarks.vqa_metric import synthetic_cases
from vqa_ray import schema
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic

_FEW, _TIMES, _ROUNDS = 100_000, 10, 1
_PART_ROWS = 25_000
_QUESTIONS_PER_IMAGE = 5


def measure(settings: Settings) -> Measured:
    """Seconds and MiB of the command."""
    few, times = settings.pick(_FEW, 500), _TIMES
    for rows in (few, times * few):
        write_sides(settings.scratch / str(rows), rows)
    seconds: dict[str, list[float]] = {}

    def run(rows: int) -> float:
        folder = settings.scratch / str(rows)
        output = folder / f"out-{len(seconds.setdefault(str(rows), []))}"
        command = [sys.executable, "-m", "vqa_ray.jobs.cli", "evaluate", "--predictions", str(folder / "run")]
        command += ["--truth", str(folder / "truth.parquet"), "--protocol", "vqa-v2", "--output", str(output)]
        begun = time.perf_counter()
        peak = peak_of(command, machine.ROOT, settings.scratch / "log.txt")
        seconds[str(rows)].append(time.perf_counter() - begun)
        judged = json.loads((output / "evaluation.json").read_text())["rows"]["judged"]
        assert judged == rows, f"{judged} of {rows} answers were judged"
        return peak / MIB

    sizes = (few, times * few)
    peaks = by_turns({str(rows): partial(run, rows) for rows in sizes}, settings.pick(_ROUNDS, 1), warm_up=False)
    least, most = peaks[str(few)], peaks[str(times * few)]
    return Measured(
        [
            figure(f"evaluate {few:,} answers", seconds[str(few)], "s"),
            figure(f"evaluate {times * few:,} answers", seconds[str(times * few)], "s", at_most=180.0),
            figure(f"evaluate {few:,} answers: peak memory of all processes", least, "MiB"),
            figure(f"evaluate {times * few:,} answers: peak memory of all processes", most, "MiB"),
            figure(
                f"evaluate {times} times the answers: peak memory to that of {few:,}",
                ratios(most, least),
                "×",
                at_most=1.15,
            ),
        ],
        [
            f"A run of {times * few:,} answers and a Parquet file of truth with ten people's answers each, question "
            f"and answer types; {_QUESTIONS_PER_IMAGE} questions an image; `--protocol vqa-v2`, on {cores()} cores. "
            "Both sides are read, joined by question_id, judged, written and measured by type, with intervals.",
            "Memory as in the benchmark of that name: sampled every 0.25 s over all processes of the command.",
        ],
    )


def write_sides(folder: Path, rows: int) -> None:
    """Write a run of `answer` and its truth."""
    directory = RunDirectory(str(folder / "run"))
    model = {"reference": "fake:", "fingerprint": "fake"}
    record = RunRecord("benchmark", "answer", "2026-01-01T00:00:00+00:00", {}, model, {"fingerprint": ""}, {}, 2)
    record.write(directory.record)
    cases = synthetic_cases(min(rows, _PART_ROWS))
    draw, writer = random.Random(1), None
    for first in range(0, rows, _PART_ROWS):
        numbers = range(first, min(first + _PART_ROWS, rows))
        chosen = [cases[number % len(cases)] for number in numbers]
        answers = [
            {
                **{"row_id": number, "image_id": f"image-{number // _QUESTIONS_PER_IMAGE}", "question_id": str(number)},
                **{"question": f"what is {number % 97}?", "answer": case["answer"], "answer_score": draw.random()},
                **{"status": schema.STATUS_OK, "attempt": 1, "source_key": number, "question_index": 0},
            }
            for number, case in zip(numbers, chosen, strict=True)
        ]
        table = pa.Table.from_pylist(answers, schema.ANSWER)
        write_table_atomic(f"{directory.output}/part-{first:08d}.parquet", table)
        truth = pa.table(
            {
                "question_id": list(numbers),
                "answers": [case["answers"] for case in chosen],
                "question_type": [f"type {number % 65}" for number in numbers],
                "answer_type": [("yes/no", "number", "other")[number % 3] for number in numbers],
            }
        )
        writer = writer or pq.ParquetWriter(folder / "truth.parquet", truth.schema)
        writer.write_table(truth)
    assert writer is not None
    writer.close()
    finished = {"status": "finished", "timing": {"finished": "2026-01-01T01:00:00+00:00"}}
    write_bytes_atomic(directory.manifest, json.dumps(finished).encode())
