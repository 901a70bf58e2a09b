"""Inputs of one-colour images, of which the fake model names the colour: for tests of whole runs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 70, 210), "black": (0, 0, 0)}
NAMES = tuple(COLOURS)


def picture(number: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A JPEG of one colour; which one follows from the number, its exact bytes too."""
    image = Image.new("RGB", size, COLOURS[NAMES[number % len(NAMES)]])
    image.putpixel((0, 0), (number % 256, number // 256 % 256, 0))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def table(count: int, *, first: int = 0) -> pa.Table:
    """`count` rows: row_id, image_id, image, colour (the truth), price and a question."""
    numbers = range(first, first + count)
    columns: dict[str, list[object]] = {
        "row_id": list(numbers),
        "image_id": [f"i{number}" for number in numbers],
        "image": [picture(number) for number in numbers],
        "colour": [NAMES[number % len(NAMES)] for number in numbers],
        "price": [number / 4 for number in numbers],
        "question": ["what colour is it?"] * count,
    }
    return pa.table(columns)


def parquet_input(directory: Path, rows: int, shards: int = 2) -> Path:
    """Parquet shards of equal size."""
    directory.mkdir(parents=True, exist_ok=True)
    each = rows // shards
    for shard in range(shards):
        pq.write_table(table(each, first=shard * each), directory / f"{shard:03}.parquet")
    return directory


def webdataset_input(file: Path, rows: int) -> Path:
    """A tar with an image and a JSON member for each row."""
    with tarfile.open(file, "w") as tar:
        for number in range(rows):
            for suffix, data in (("jpg", picture(number)), ("json", b'{"question": "what colour is it?"}')):
                member = tarfile.TarInfo(f"{number:05}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file


def images_input(directory: Path, rows: int) -> Path:
    """A folder of image files."""
    directory.mkdir(parents=True)
    for number in range(rows):
        (directory / f"{number:05}.jpg").write_bytes(picture(number))
    return directory


def jsonl_input(directory: Path, rows: int) -> Path:
    """A JSON Lines file beside the images that it refers to by relative path."""
    images_input(directory / "images", rows)
    lines = [
        json.dumps({"image_uri": f"images/{number:05}.jpg", "question": "what colour is it?"}) for number in range(rows)
    ]
    (directory / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return directory / "rows.jsonl"
