"""Seven nights of a catalogue in a bucket: new products, a table that goes, a directory that is missing, two kills.

Each night the run is updated and published to Iceberg, and SQL counts the rows. `make soak` runs this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.helpers.s3 import s3_bucket
from tests.jobs.soak import call
from vqa_ray.catalog.write import write_catalogue
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete
from vqa_ray.storage.filesystem import exists, list_files, read_bytes

PRODUCTS, NEW, NIGHTS = 200, 2, 7
KILLED, MISSING, WITHDRAWN = (2, 5), 3, 4
TAXONOMY = Path(__file__).parents[2] / "examples" / "taxonomies" / "departments.yaml"
TITLE = """
  - name: fits_title
    question: "is this a {title}?"
    choices: ["yes", "no"]
"""
CLOTHES = "category in ('dress', 'hat', 'shoe', 't-shirt', 'trousers')"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(5400)]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_bucket("shop") as uri:
        settings = {
            "URI": f"sqlite:///{tmp_path / 'catalogue.db'}",
            "WAREHOUSE": f"{uri}/warehouse",
            "S3__ENDPOINT": os.environ["AWS_ENDPOINT_URL"],
            "S3__ACCESS_KEY_ID": "test",
            "S3__SECRET_ACCESS_KEY": "test",
            "S3__REGION": "us-east-1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__SHOP__{name}", value)
        yield uri


def deliver(bucket: str, night: int, count: int) -> None:
    """The products of a night: photos, and a table with their titles."""
    write_catalogue(count, 100 + night, f"{bucket}/render/{night}", "jsonl", rows_per_shard=count)
    rows = [
        json.loads(line)
        for entry in list_files(f"{bucket}/render/{night}")
        if entry.uri.endswith(".jsonl")
        for line in read_bytes(entry.uri).splitlines()
    ]
    lines = [
        {
            "image_uri": f"{bucket}/render/{night}/{row['image_uri']}",
            "image_id": row["image_id"],
            "night": night,
            "title": f"{row['colour']} {row['category']}",
        }
        for row in rows
    ]
    write_bytes_atomic(f"{bucket}/products/night-{night}.jsonl", "\n".join(map(json.dumps, lines)).encode())


def tag(bucket: str, tags: Path) -> list[str]:
    where = ["--input", f"{bucket}/products/", "--image-root", f"{bucket}/render/", "--output", f"{bucket}/tags"]
    return ["tag", *where, "--tags", str(tags), "--model", "bundled:catalog-vilt", "--keep", "night", "--update"]


def killed_on_its_way(bucket: str, arguments: list[str], update: int) -> None:
    """Begin an update, and kill it when it has a place of its own in the output."""
    process = subprocess.Popen([sys.executable, "-m", "vqa_ray.jobs.cli", *arguments], stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while process.poll() is None and not exists(f"{bucket}/tags/_vqa_ray/attempt-{update + 1}"):
        assert time.monotonic() - began < 600
        time.sleep(0.2)
    process.kill()
    assert process.wait() != 0


def query(sql: str) -> list[tuple[Any, ...]]:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.utils.config import Config

    with pytest.MonkeyPatch.context() as patched:
        # pyiceberg reads the variables when it is imported.
        patched.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
        rows = load_catalog("shop").load_table("catalogue.tags").scan().to_arrow()
    connection = duckdb.connect()
    connection.register("tags", rows)
    return connection.sql(sql).fetchall()


def manifest(bucket: str) -> Mapping[str, Any]:
    return dict(json.loads(read_bytes(RunDirectory(f"{bucket}/tags").manifest)))


def test_seven_nights(bucket: str, tmp_path: Path) -> None:
    tags = tmp_path / "tags.yaml"
    tags.write_text(TAXONOMY.read_text() + TITLE)
    arguments = tag(bucket, tags)
    there: dict[int, int] = {}
    for night in range(NIGHTS):
        there[night] = PRODUCTS if night == 0 else NEW
        deliver(bucket, night, there[night])
        if night == MISSING:
            table = f"{bucket}/products/night-0.jsonl"
            kept = read_bytes(table)
            delete(table)
            refused = call(*arguments)
            assert refused.returncode == 2, refused.stderr
            assert "--max-gone" in refused.stderr
            write_bytes_atomic(table, kept)
        if night == WITHDRAWN:
            delete(f"{bucket}/products/night-1.jsonl")
            del there[1]
        if night in KILLED:
            killed_on_its_way(bucket, arguments, night)
        done = call(*arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("Traceback") == 0
        if night:
            entry = manifest(bucket)["updates"][-1]
            assert (entry["new"], entry["gone"]) == (NEW, NEW if night == WITHDRAWN else 0), entry
        for _ in range(2):
            published = call("publish", f"{bucket}/tags", "--to", "iceberg:shop.catalogue.tags")
            assert published.returncode == 0, published.stderr
        assert dict(query("select night, count(*) from tags group by all")) == there
        assert query("select count(*) - count(distinct image_id) from tags") == [(0,)]
        assert query("select distinct status from tags") == [("ok",)]
        asked = "garment_colour_reason is null"
        assert query(f"select count(*) from tags where ({asked}) <> (category is not null and {CLOTHES})") == [(0,)]
        print(f"night {night}: {sum(there.values())} rows", query("select category, count(*) from tags group by all"))  # noqa: T201
