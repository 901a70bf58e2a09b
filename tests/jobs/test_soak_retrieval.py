"""Every photo of the grocery and clothing sets indexed, searched, verified and browsed, from an S3 endpoint.

`make soak` runs this.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.s3 import s3_bucket
from tests.jobs.soak import DATA, call, name_of, photos
from tests.jobs.test_browse import browsing
from vqa_ray.index.reader import open_index
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete
from vqa_ray.storage.filesystem import read_bytes

ENCODER, VERIFIER = "bundled:catalog-clip", "bundled:catalog-vilt"
FOLDERS = ("clothing", "grocery")

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(not (DATA / "grocery").is_dir(), reason="VQA_RAY_TEST_DATA has no grocery photos"),
]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("retrieval") as uri:
        for path in photos(*FOLDERS):
            write_bytes_atomic(f"{uri}/photos/{name_of(path)}", path.read_bytes())
        yield uri


@pytest.fixture(scope="module")
def index(bucket: str) -> str:
    uri, started = f"{bucket}/index", time.monotonic()
    done = call("index", "--input", f"{bucket}/photos/", "--output", uri, "--model", ENCODER, "--dedupe", "0.97")
    assert done.returncode == 0, done.stderr
    print(f"{len(open_index(uri))} photos in {time.monotonic() - started:.0f} s\n{done.stdout}")  # noqa: T201
    return uri


def test_every_photo_is_in_it_and_a_second_command_reads_none(bucket: str, index: str) -> None:
    version = open_index(index).version
    assert (version.rows, version.ok) == (len(photos(*FOLDERS)),) * 2
    again = call("index", "--input", f"{bucket}/photos/", "--output", index, "--model", ENCODER)
    assert again.returncode == 0, again.stderr
    assert open_index(index).version.number == version.number


def test_new_changed_and_missing_photos_are_all_that_is_read(bucket: str, index: str) -> None:
    first, second, third = photos(*FOLDERS)[:3]
    before = open_index(index).version
    # One renamed, which is a new and a missing one; another's bytes under a known name.
    write_bytes_atomic(f"{bucket}/photos/new.jpg", first.read_bytes())
    delete(f"{bucket}/photos/{name_of(first)}")
    write_bytes_atomic(f"{bucket}/photos/{name_of(second)}", third.read_bytes())
    done = call("index", "--input", f"{bucket}/photos/", "--output", index, "--model", ENCODER)
    assert done.returncode == 0, done.stderr
    now = open_index(index).version
    assert (now.rows, now.ok, now.number) == (before.rows, before.ok, before.number + 1)
    update = now.updates[-1]
    assert (update.added, update.replaced, update.removed) == (1, 1, 1)
    assert sum(file.rows for file in now.files if file.update == update.name) == 2, "no other was embedded again"


def test_a_photo_finds_itself(bucket: str, index: str, tmp_path: Path) -> None:
    photo = photos(*FOLDERS)[-1]
    hits = str(tmp_path / "hits.parquet")
    done = call("search", index, "--image", f"{bucket}/photos/{name_of(photo)}", "--output", hits, "--top-k", "3")
    assert done.returncode == 0, done.stderr
    (best, *_) = pq.read_table(hits).to_pylist()
    assert best["image_uri"].endswith(name_of(photo))
    assert best["score"] == pytest.approx(1.0, abs=1e-3)


def test_hits_are_verified_on_the_photos_in_the_bucket(bucket: str, index: str) -> None:
    hits, page = f"{bucket}/hits.parquet", f"{bucket}/hits.html"
    done = call(
        *("search", index, "--text", "a red bottle", "--filter", "height >= 200", "--top-k", "12"),
        *("--verify", '"is it red?" or "is it a bottle?"', "--verify-model", VERIFIER, "--threshold", "0.01"),
        *("--output", hits, "--gallery", page),
    )
    assert done.returncode == 0, done.stderr
    found = pq.read_table(io.BytesIO(read_bytes(hits)))
    assert found.num_rows > 0
    assert set(found["status"].to_pylist()) == {"ok"}
    assert min(found["verified_score"].to_pylist()) >= 0.01
    assert min(found["height"].to_pylist()) >= 200
    assert read_bytes(page).count(b"data:image/jpeg;base64,") == found.num_rows


def test_the_page_shows_and_searches_it(index: str) -> None:
    with browsing(index, "--verify-model", VERIFIER) as (_, site):
        assert f"{len(open_index(index)):,} rows" in site.get("/").text
        opened = site.get("/?text=a+red+bottle&verify=is+it+red").page.opened
        assert opened
        assert site.get(f"/thumbnail/{opened[0]}").status == 200
