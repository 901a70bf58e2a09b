"""What a run costs its driver: CPU seconds and memory at one million rows and at four, and so at sixteen."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks import machine
from benchmarks.peak import MIB, own_peak
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.jobs.cli import main

_FEWER, _MORE, _CALCULATED = 1_000_000, 4_000_000, 16_000_000
_PER_FILE, _SIDE, _IMAGES = 20_000, 64, 64
_MILLION = 1_000_000


class Cost(NamedTuple):
    """What a driver took.

    Attributes:
        rows: of its run.
        cpu_s: CPU seconds of the process, of all its threads, its start included.
        most_bytes: most memory of the process.
    """

    rows: int
    cpu_s: float
    most_bytes: float


def measure(settings: Settings) -> Measured:
    """CPU seconds and memory of the process of the command, without those that its Ray starts."""
    fewer, more = (_driver_of(settings.pick(rows, rows // 250), settings.scratch) for rows in (_FEWER, _MORE))
    calculated = extrapolated(fewer, more, settings.pick(_CALCULATED, _CALCULATED // 250))
    further_s = (more.cpu_s - fewer.cpu_s) / (more.rows - fewer.rows) * _MILLION
    further_bytes = (more.most_bytes - fewer.most_bytes) / (more.rows - fewer.rows) * _MILLION
    figures = []
    for cost, how in ((fewer, ""), (more, ""), (calculated, ", by calculation from these two")):
        figures += [
            figure(f"driver of {cost.rows:,} rows, CPU time{how}", [cost.cpu_s], "s"),
            figure(f"driver of {cost.rows:,} rows, most memory{how}", [cost.most_bytes / MIB], "MiB"),
        ]
    return Measured(
        [
            *figures,
            figure("driver, CPU time of a further million rows", [further_s], "s"),
            figure("driver, memory of a further million rows", [further_bytes / MIB], "MiB"),
        ],
        [
            f"`answer --model fake:` on Parquet files of {_PER_FILE:,} rows, one question each, {_IMAGES} distinct PNG "
            f"images of {_SIDE} × {_SIDE}. The process of the command alone, from its start to its end, the manifest "
            "included; CPU time hardly depends on what else the machine does.",
        ],
    )


def extrapolated(fewer: Cost, more: Cost, rows: int) -> Cost:
    """Return the cost of another number of rows, on the line through two."""
    further = (rows - fewer.rows) / (more.rows - fewer.rows)
    return Cost(
        rows,
        fewer.cpu_s + further * (more.cpu_s - fewer.cpu_s),
        fewer.most_bytes + further * (more.most_bytes - fewer.most_bytes),
    )


def draw(directory: Path, rows: int) -> None:
    """Make Parquet files of questions about a few images of one colour, each image stored once to a file."""
    directory.mkdir()
    images = [_image(number) for number in range(_IMAGES)]
    for begin in range(0, rows, _PER_FILE):
        numbers = range(begin, min(begin + _PER_FILE, rows))
        columns = {
            "image_id": [f"image-{number}" for number in numbers],
            "image": [images[number % _IMAGES] for number in numbers],
            "question": ["what colour is it?"] * len(numbers),
        }
        pq.write_table(pa.table(columns), directory / f"{begin:09}.parquet")


def _image(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), (number * 4, 255 - number * 4, number * 37 % 256)).save(buffer, "PNG")
    return buffer.getvalue()


def _driver_of(rows: int, scratch: Path) -> Cost:
    input, output = scratch / f"input-{rows}", scratch / f"output-{rows}"
    draw(input, rows)
    command = [sys.executable, "-m", "benchmarks.driver", "--input", str(input), "--output", str(output)]
    printed = subprocess.run(command, cwd=machine.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    answered, cpu_s, most_bytes = json.loads(printed.splitlines()[-1])
    assert answered == rows, f"{answered} of {rows} rows were answered"
    return Cost(rows, float(cpu_s), float(most_bytes))


if __name__ == "__main__":
    code = main(["answer", *sys.argv[1:], "--model", "fake:", "--quiet"])
    if code:
        raise SystemExit(code)
    run = Path(sys.argv[sys.argv.index("--output") + 1])
    manifest = json.loads((run / "_vqa_ray" / "manifest.json").read_text(encoding="utf-8"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([manifest["ok"], used.ru_utime + used.ru_stime, own_peak()]))
