"""Hostile image files through whole runs: each is answered or told why not, and its neighbours are answered."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.coloured import NAMES, picture
from tests.helpers.pictures import gif_claiming, png_claiming
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.errors import ErrorCode

pytestmark = pytest.mark.usefixtures("local_ray")

NASTY = Path(os.environ.get("VQA_RAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "nasty_images"


def ask_with_neighbours(directory: Path, hostile: list[Path]) -> list[dict[str, object]]:
    """Ask of every hostile file, a good picture before and after each; gives the rows of the hostile ones."""
    lines = []
    for number, path in enumerate([None, *(p for h in hostile for p in (h, None))]):
        if path is None:
            path = directory / f"good-{number}.jpg"
            path.write_bytes(picture(number))
        lines.append({"image_uri": str(path), "image_id": f"{number}", "question": "what colour is it?"})
    source = directory / "in.jsonl"
    source.write_text("\n".join(json.dumps(line) for line in lines))
    allowed = [word for place in {path.parent for path in hostile} for word in ("--allow-local", str(place))]
    assert run_here("answer", source, directory / "out", "--max-error-fraction", "1", *allowed) == 0
    answered = rows(directory / "out").to_pylist()
    assert sorted(int(row["image_id"]) for row in answered) == list(range(len(lines)))
    assert manifest(directory / "out")["findings"] == []
    for row in answered:
        number = int(row["image_id"])
        if number % 2 == 0:
            assert (row["status"], row["answer"]) == ("ok", NAMES[number % len(NAMES)])
    return sorted((row for row in answered if int(row["image_id"]) % 2), key=lambda row: int(row["image_id"]))


def check_outcomes(outcomes: list[dict[str, object]]) -> None:
    for row in outcomes:
        if row["status"] == "ok":
            assert row["answer"] is not None
            assert row["error_code"] is None
        else:
            assert row["error_code"] in set(ErrorCode)
            assert row["answer"] is None
            message = row["error_message"]
            assert isinstance(message, str)
            assert 0 < len(message) <= 300
            assert message.isprintable()


def test_made_files(tmp_path: Path) -> None:
    made = {
        "empty.jpg": (b"", "image_missing"),
        "text.jpg": (b"not an image at all", "image_undecodable"),
        "short.jpg": (picture(1)[:200], "image_undecodable"),
        "bomb.gif": (gif_claiming(65_535, 65_535), "image_too_large"),
        "claims.png": (png_claiming(100_000, 100_000), "image_too_large"),
    }
    for name, (data, _) in made.items():
        (tmp_path / name).write_bytes(data)
    outcomes = ask_with_neighbours(tmp_path, [*(tmp_path / name for name in made), tmp_path / "absent.jpg"])
    check_outcomes(outcomes)
    assert [row["error_code"] for row in outcomes] == [*(code for _, code in made.values()), "image_missing"]


@pytest.mark.skipif(not NASTY.is_dir(), reason="VQA_RAY_TEST_DATA has no nasty_images")
def test_every_nasty_file(tmp_path: Path) -> None:
    hostile = sorted(p for p in NASTY.rglob("*") if p.is_file() and p.name not in {"MANIFEST.csv"})
    assert len(hostile) > 200
    outcomes = ask_with_neighbours(tmp_path, hostile)
    check_outcomes(outcomes)
    assert len(outcomes) == len(hostile)
    statuses = [row["status"] for row in outcomes]
    assert statuses.count("ok") >= 150
    assert statuses.count("error") >= 20
