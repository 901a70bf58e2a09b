"""A run without an index on the page: pictures of its images, sorting, untagged rows, and the selection as a file."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.helpers.coloured import parquet_input, picture
from tests.unit.browse.site import MARKUP, Site, served, server_of, table_of, write_run
from vqa_ray import schema
from vqa_ray.browse.dataset import open_collection
from vqa_ray.browse.originals import Originals
from vqa_ray.browse.placeholder import placeholder
from vqa_ray.browse.scores import scores_of
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers import InputConfig, open_source, read_shard
from vqa_ray.readers.changes.snapshot import snapshot_of, write_snapshot
from vqa_ray.runs.directory import RunDirectory


def photo(path: Path, size: tuple[int, int] = (2000, 1000)) -> str:
    Image.new("RGB", size, (30, 160, 60)).save(path, "JPEG")
    return str(path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Rows: a photo, none there, text instead of an image, a web image, embedded, in error."""
    (tmp_path / "secret.txt").write_text("root:x:0:0")
    rows = [
        {"image_uri": photo(tmp_path / "0.jpg"), "caption": "=cmd()", "caption_score": 0.5},
        {"image_uri": str(tmp_path / "gone.jpg"), "caption": "b", "caption_score": 0.9},
        {"image_uri": str(tmp_path / "secret.txt"), "caption": "c", "caption_score": None},
        {"image_uri": "http://127.0.0.1:9/x.jpg", "caption": "d", "caption_score": 0.1},
        {"caption": MARKUP, "caption_score": 0.2},
        {"image_uri": photo(tmp_path / "5.jpg"), "status": "error", "error_code": "image_undecodable"},
    ]
    with served(
        server_of(open_collection(write_run(tmp_path / "run", "caption", table_of(schema.CAPTION, rows))))
    ) as it:
        yield it


def test_pictures_are_small_jpegs_made_here(site: Site) -> None:
    for path, size in (("/thumbnail/0", (320, 160)), ("/picture/0", (1280, 640))):
        reply = site.get(path)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(reply.body)).size == size
    page = site.get("/").page
    assert [each["src"] for each in page.all("img")] == [f"/thumbnail/{row}" for row in range(5)]
    assert site.get("/row/0").page.all("img", src="/picture/0")


def test_what_is_no_picture_says_why_and_leaks_nothing(site: Site) -> None:
    for row, told in ((1, "nothing is stored there"), (2, "not an image"), (3, "--allow-http"), (4, "nowhere")):
        for path in (f"/thumbnail/{row}", f"/picture/{row}"):
            reply = site.get(path)
            assert (reply.status, reply.headers["Content-Type"]) == (404, "image/svg+xml")
            # The picture breaks its lines where they are full, within words too.
            assert told.replace(" ", "") in re.sub(r"<[^>]*>|\s", "", reply.text)
            assert "root:x" not in reply.text
    for path in ("/picture/5", "/picture/6", "/picture/-1", "/picture/..%2f0"):
        assert site.get(path).status == 404


def test_only_addresses_of_rows_are_read(tmp_path: Path) -> None:
    read = []

    def fetch(uri: str) -> bytes:
        read.append(uri)
        raise RowError(ErrorCode.IMAGE_MISSING, "nothing is stored there")

    originals = Originals(table_of(schema.CAPTION, [{"image_uri": "a.jpg"}, {"image_uri": None}]), fetch)
    for position in (0, 1):
        with pytest.raises(RowError):
            originals.preview(position)
    assert read == ["a.jpg"]
    with pytest.raises(IndexError):
        originals.preview(2)


def test_an_image_is_read_once_for_a_while(tmp_path: Path) -> None:
    data, read = Path(photo(tmp_path / "0.jpg")).read_bytes(), []
    originals = Originals(table_of(schema.CAPTION, [{"image_uri": "a.jpg"}] * 3), lambda uri: read.append(uri) or data)
    assert {originals.preview(position).size for position in (0, 1, 2)} == {(1000, 2000)}
    assert read == ["a.jpg"]


def embedded_run(tmp_path: Path, rows: Sequence[dict[str, object]], count: int = 6) -> str:
    """A caption run over `count` images embedded in a Parquet file; the input is written first."""
    source = open_source(InputConfig(str(parquet_input(tmp_path / "in", count, shards=1)), needs_question=False))
    run = write_run(tmp_path / "run", "caption", table_of(schema.CAPTION, rows), source=source)
    write_snapshot(RunDirectory(run).listing(), snapshot_of(source))
    return run


def test_images_embedded_in_the_input_are_read_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"image_id": f"i{row}", "source_key": row, "caption": str(row)} for row in (3, 0, 5)]
    run = embedded_run(tmp_path, [*rows, {"image_id": "another", "source_key": 1}, {"source_key": 77}])
    read: list[int] = []
    monkeypatch.setattr("vqa_ray.readers.reread.read_shard", lambda *args: read.append(1) or read_shard(*args))
    with served(server_of(open_collection(run))) as site:
        assert len(site.get("/").page.all("img")) == 5
        for position, row in ((0, 3), (1, 0), (2, 5)):
            reply = site.get(f"/thumbnail/{position}")
            assert reply.status == 200
            assert Image.open(io.BytesIO(reply.body)).getpixel((4, 4)) == pytest.approx(
                Image.open(io.BytesIO(picture(row))).convert("RGB").getpixel((4, 4)), abs=30
            )
        for position, reason in ((3, "another image"), (4, "not where it was")):
            assert reason in " ".join(re.sub("<[^>]+>", " ", site.get(f"/thumbnail/{position}").text).split())
        assert len(read) == 1, "the images of a page are read together"


def test_an_input_that_is_gone_leaves_a_reason(tmp_path: Path) -> None:
    run = embedded_run(tmp_path, [{"image_id": "i0", "source_key": 0}])
    shutil.rmtree(tmp_path / "in")
    with served(server_of(open_collection(run))) as site:
        reply = site.get("/thumbnail/0")
        assert (reply.status, reply.headers["Content-Type"]) == (404, "image/svg+xml")
        assert "no such file" in reply.text


def test_a_placeholder_escapes_its_reason() -> None:
    drawn = placeholder(f"{MARKUP}\x00\x1b" * 3).decode()
    assert "<script" not in drawn
    assert "&lt;script" in drawn
    assert "\x00" not in drawn


def test_sorted_by_score(site: Site) -> None:
    assert site.get("/?sort=best").page.opened == [1, 0, 4, 3, 2, 5]
    assert site.get("/?sort=worst").page.opened == [3, 4, 0, 1, 2, 5]
    assert site.get("/?sort=up").status == 400
    assert "/export.csv?by=words&amp;sort=worst" in site.get("/?sort=worst").text


def test_scores_of_each_job() -> None:
    nested = [{"results": [{"question": "q", "answer_score": 0.2}, {"question": "r", "answer_score": 0.7}]}, {}]
    assert scores_of("answer", table_of(schema.ANSWERS, nested)).tolist()[0] == pytest.approx(0.7)  # type: ignore[union-attr]
    assert np.isnan(scores_of("answer", table_of(schema.ANSWERS, nested))[1])  # type: ignore[index]
    assert scores_of("answer", table_of(schema.ANSWER, [{"answer_score": 0.5}])).tolist() == [0.5]  # type: ignore[union-attr]
    assert scores_of("retrieve", table_of(schema.RETRIEVE, [{"score": 0.5}])).tolist() == [0.5]  # type: ignore[union-attr]
    assert scores_of("index", pa.table({"row_id": [1]})) is None


def test_untagged_rows_and_rows_in_error(tmp_path: Path) -> None:
    form = schema.tag_schema([("size", False)])
    big = {"tags": ["size:big"], "size": "big", "size_score": 0.75}
    rows = [big, {"tags": []}, {"status": "error", "error_code": "image_missing"}, big]
    with served(server_of(open_collection(write_run(tmp_path, "tag", table_of(form, rows))))) as site:
        assert site.get("/?f.tagged=no").page.opened == [1]
        assert site.get("/?f.tagged=yes").page.opened == [0, 3]
        assert site.get("/?f.status=error").page.opened == [2]
        assert ("tagged", "no") in site.get("/").page.facets
        assert site.get("/?sort=best").page.opened == [0, 3, 1, 2]


def test_the_selection_as_a_file(site: Site) -> None:
    reply = site.get("/export.csv?sort=best&f.status=ok")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="selection.csv"'
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert [row["row_id"] for row in rows] == ["1", "0", "4", "3", "2"]
    assert {"row_id", "image_id", "image_uri", "caption", "caption_score", "status"} <= set(rows[0])
    assert rows[1]["caption"] == "'=cmd()", "no formula for a spreadsheet"
    told = json.loads(site.get("/export.json?sort=best&f.status=ok").text)
    assert [row["row_id"] for row in told] == [1, 0, 4, 3, 2]
    assert told[1]["caption"] == "=cmd()"
    assert told[4]["caption_score"] is None
    assert json.loads(site.get("/export.json?f.status=nothing").text) == []
    assert site.get("/export.json?page=x").status == 400
    assert site.get("/export.exe").status == 404
    assert site.get("/export.csv", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403


def test_boxes_are_drawn_on_the_pictures(tmp_path: Path) -> None:
    box = {"label": "dog", "x0": 500.0, "y0": 250.0, "x1": 1500.0, "y1": 750.0}
    rows = [{"image_uri": photo(tmp_path / "a.jpg"), "caption": "a dog", "boxes": [box]}]
    run = write_run(tmp_path / "run", "caption", table_of(schema.caption_schema(boxes=True), rows))
    with served(server_of(open_collection(run))) as site:
        (drawn,) = site.get("/").page.all("rect")
        assert (drawn["x"], drawn["width"]) == ("25.00", "50.00")
