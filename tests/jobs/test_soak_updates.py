"""Nights of a catalogue on S3, each killed several times: 100 kills in all. `make soak` runs this."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pytest

from tests.helpers.coloured import NAMES, picture
from tests.helpers.s3 import s3_bucket
from tests.jobs.kills import disturbed
from tests.jobs.soak import read_output
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns

KILLS = int(os.environ.get("VQA_RAY_SOAK_KILLS", "100"))
_KILLS_A_NIGHT = 5
_PHOTOS = 400

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_bucket("nights") as uri:
        yield uri


class Catalogue:
    """Photos of one colour each in a bucket: what a run must say of them follows from their contents."""

    def __init__(self, uri: str, chance: random.Random) -> None:
        self.uri, self._chance = uri, chance
        self._files = fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        self.here: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self._number = 0
        for _ in range(_PHOTOS):
            self._write(f"p{self._number:05}.jpg")

    def _write(self, name: str) -> None:
        self._number += 1
        self.here[name] = self._number
        self.gone.pop(name, None)
        self._files.pipe_file(f"{self.uri}/{name}", picture(self._number))

    def night(self) -> None:
        """Photos come, change, go and come back."""
        names = self._chance.sample(sorted(self.here), 20)
        for name in self._chance.sample(sorted(self.gone), min(3, len(self.gone))):
            self._write(name)
        for _ in range(20):
            self._write(f"p{self._number:05}.jpg")
        for name in names[:12]:
            self._write(name)
        for name in names[12:]:
            self._files.rm_file(f"{self.uri}/{name}".removeprefix("s3://"))
            self.gone[name] = self.here.pop(name)

    def truth(self) -> dict[str, tuple[str, str]]:
        """name → (status, colour)."""
        said = {name: ("ok", NAMES[number % len(NAMES)]) for name, number in self.here.items()}
        return said | {name: ("gone", NAMES[number % len(NAMES)]) for name, number in self.gone.items()}


def said(table: pa.Table) -> dict[str, tuple[str, str]]:
    """name → (status, colour), of rows that stand once."""
    found = {row["image_id"]: (row["status"], row["answer"]) for row in table.to_pylist()}
    assert len(found) == table.num_rows, "a row stands twice"
    return found


def seen_by_us(output: str) -> dict[str, tuple[str, str]]:
    return said(pa.concat_tables([read_columns(entry.uri) for entry in RunDirectory(output).part_files()]))


def run(source: str, output: str, chance: random.Random, *more: str, kill_after_s: float | None = None) -> bool:
    """Run the command; gives whether it ended by itself."""
    argv = ["answer", "--input", source, "--output", output, "--model", "fake:", "--question", "what colour is it?"]
    argv += ["--rows-per-file", "16", "--batch-size", "8", "--quiet", *more]
    moment = kill_after_s or 0.0
    _, killed = disturbed(argv, ("driver", "sigterm", "raylet"), chance, int(moment > 0), (moment, moment))
    return not killed


def test_a_hundred_kills_lose_double_and_spoil_no_row(bucket: str) -> None:
    chance = random.Random(7)
    catalogue = Catalogue(f"{bucket}/photos", chance)
    source, output = f"{bucket}/photos", f"{bucket}/answers"
    began = time.monotonic()
    assert run(source, output, chance)
    whole_s = time.monotonic() - began
    kills, before = 0, catalogue.truth()
    assert said(read_output(output)) == before
    while kills < KILLS:
        catalogue.night()
        after = catalogue.truth()
        for _ in range(_KILLS_A_NIGHT):
            # Most of them late, where rows are written and published.
            if run(source, output, chance, "--update", kill_after_s=whole_s * chance.triangular(0.2, 1.3, 1.0)):
                break
            kills += 1
            assert seen_by_us(output) in (before, after), "a state between"
            for name, row in said(read_output(output)).items():
                assert row in (before.get(name), after.get(name)), name
        assert run(source, output, chance, "--update")
        assert said(read_output(output)) == seen_by_us(output) == after
        before = after
    print(f"{kills} kills, a whole run takes {whole_s:.0f} s")  # noqa: T201
