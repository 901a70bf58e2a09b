"""What failing requests for images cost a run: time, and no row."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.helpers.coloured import NAMES, picture
from tests.helpers.faulty_store import Fault, faulty_s3
from tests.jobs.commands import arguments, finish, manifest, rows
from vqa_ray.storage.atomic import write_bytes_atomic

COUNT = 4000
FAULTS = (Fault.ERROR, Fault.BUSY, Fault.RESET, Fault.CUT, Fault.SHORT, Fault.EMPTY)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_tenth_of_the_requests_for_images_fails(tmp_path: Path) -> None:
    with faulty_s3("photos") as (uri, store):
        for number in range(COUNT):
            write_bytes_atomic(f"{uri}/{number}.jpg", picture(number))
        uris = [f"{uri}/{number}.jpg" for number in range(COUNT)]
        lines = [{"row_id": n, "image_uri": each, "question": "what colour is it?"} for n, each in enumerate(uris)]
        source = tmp_path / "in.jsonl"
        source.write_text("\n".join(map(json.dumps, lines)))
        seconds = {}
        for share in (0.0, 0.1):
            store.inject(*FAULTS, share=share, matching="GET /photos/")
            output, begun = tmp_path / f"out-{share}", time.monotonic()
            assert finish(arguments("answer", source, output)) == (0, "")
            seconds[share] = time.monotonic() - begun
            assert rows(output)["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(COUNT)]
            assert manifest(output)["errors"] == {}
        print(f"{COUNT} images: {seconds[0.0]:.1f} s, with {store.injected.total()} failures {seconds[0.1]:.1f} s")  # noqa: T201
        assert store.injected.total() > COUNT / 20
        assert seconds[0.1] < 1.5 * seconds[0.0]
