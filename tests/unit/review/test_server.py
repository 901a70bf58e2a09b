"""The page of a review, over HTTP, without a script."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pyarrow as pa
import pytest
from PIL import Image

from tests.helpers.coloured import parquet_input
from tests.unit.browse.site import HOSTILE, MARKUP, Reply, Site, served, table_of, write_run
from tests.unit.review.reviews import answer_run, answered, server_of, tag_run
from vqa_ray import schema
from vqa_ray.browse.server import Server
from vqa_ray.readers import InputConfig, open_source


def site_of(run: str, labels: Path) -> Any:
    server, _ = server_of(run, labels)
    return served(cast("Server", server))


def send(site: Site, path: str, **values: str) -> Reply:
    return site.post(
        path,
        urlencode(values).encode(),
        Content_Type="application/x-www-form-urlencoded",
        Sec_Fetch_Site="same-origin",
        Origin=site.url,
        Host=f"127.0.0.1:{site.port}",
    )


def verdicts(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]] if file.exists() else []


def test_a_review_from_the_first_answer_to_the_last(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    with site_of(answer_run(tmp_path, 3), file) as site:
        assert site.get("/").headers["Location"] == "/item/0"
        page = site.get("/item/0")
        for shown in ("is there a dog?", "0 of 3", "images/"):
            assert shown in page.page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.page.all("img", src="/picture/0")
        assert Image.open(io.BytesIO(site.get("/picture/0").body)).format == "JPEG"
        reply = send(site, "/item/0", verdict="right")
        assert (reply.status, reply.headers["Location"]) == (303, "/item/1")
        assert [each["verdict"] for each in verdicts(file)] == ["right"]
        assert send(site, "/item/1", verdict="other", answer=" ").headers["Location"].startswith("/item/1?problem=")
        assert "Type the right answer first." in site.get("/item/1?problem=Type%20the%20right%20answer%20first.").text
        assert send(site, "/item/1", verdict="other", answer="maybe").headers["Location"] == "/item/2"
        assert send(site, "/item/2", verdict="skip").headers["Location"] == "/item/2"
        assert "Your verdict: other, maybe" in site.get("/item/1").page.text
        assert send(site, "/item/2", verdict="wrong").headers["Location"] == "/done"
        assert "3 verdicts are saved" in site.get("/done").page.text
        assert send(site, "/undo").headers["Location"] == "/item/2"
        assert [each["verdict"] for each in verdicts(file)] == ["right", "other"]


def test_what_is_not_there_or_no_verdict(tmp_path: Path) -> None:
    with site_of(answer_run(tmp_path), tmp_path / "labels.jsonl") as site:
        for path in ("/item/6", "/item/x", "/picture/99", "/assets/server.py"):
            assert site.get(path).status == 404
        assert send(site, "/item/0", verdict="sideways").status == 400
        assert send(site, "/item/0").status == 400
        assert site.ask("PUT", "/item/0", b"", {}).status == 405
        assert send(site, "/undo").headers["Location"] == "/item/0"
        assert send(site, "/item/0", verdict="other", answer="x" * 100_000).status == 413


def test_other_sites_give_no_verdicts(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    with site_of(answer_run(tmp_path), file) as site:
        body = b"verdict=right"
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        assert site.post("/item/0", body, Sec_Fetch_Site="cross-site", **form).status == 403
        assert site.post("/item/0", body, Origin="http://evil.example", **form).status == 403
        assert site.post("/item/0", body, Origin="null", **form).status == 403
        assert site.post("/item/0", body, Host="evil.example", **form).status == 403
    assert verdicts(file) == []


def test_a_verdict_that_cannot_be_saved_is_told_and_not_lost_in_silence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server, review = server_of(answer_run(tmp_path), tmp_path / "labels.jsonl")
    with served(cast("Server", server)) as site:
        review._file.uri = str(tmp_path / "file" / "labels.jsonl")
        reply = send(site, "/item/0", verdict="right")
        assert reply.status == 500
        assert "The verdict was not saved" in reply.page.text
        assert "0 of 6" in site.get("/item/0").page.text


def test_choices_and_several_values_of_an_attribute(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    server, review = server_of(tag_run(tmp_path), file)
    number = next(n for n, item in enumerate(review.items) if item.answer == "dog; cat")
    with served(cast("Server", server)) as site:
        page = site.get(f"/item/{number}").page
        assert [each["value"] for each in page.all("option")] == ["dog", "cat"]
        assert "Several values" in page.text
        send(site, f"/item/{number}", verdict="other", answer="cat")
    (label,) = verdicts(file)
    assert (label["attribute"], label["several"], label["answer"]) == ("motif", True, "cat")


def test_embedded_images_become_files_beside_the_labels(tmp_path: Path) -> None:
    source = open_source(InputConfig(str(parquet_input(tmp_path / "in", 2)), needs_question=False))
    rows = [answered("yes", image_id=None), answered("no", image_id=None)]
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows), source=source)
    file = tmp_path / "labels.jsonl"
    with site_of(run, file) as site:
        assert site.get("/picture/0").status == 200
        send(site, "/item/0", verdict="right")
        # Nobody has seen the second one.
        send(site, "/item/1", verdict="right")
    seen, unseen = verdicts(file)
    assert Path(seen["image_uri"]).read_bytes().startswith(b"\xff\xd8\xff")
    assert Path(seen["image_uri"]).parent == tmp_path / "labels.jsonl.images"
    assert unseen["image_uri"] is None


def test_a_picture_that_is_gone_says_so(tmp_path: Path) -> None:
    rows = [answered("yes", image_uri=str(tmp_path / "gone.jpg"))]
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows))
    with site_of(run, tmp_path / "labels.jsonl") as site:
        reply = site.get("/picture/0")
        assert reply.status == 404
        assert reply.headers["Content-Type"].startswith("image/svg+xml")
        assert send(site, "/item/0", verdict="right").status == 303


@pytest.mark.parametrize("text", HOSTILE)
def test_data_stays_text(tmp_path: Path, text: str) -> None:
    rows = [answered(text, question=text, image_id=text), answered(MARKUP, question=text)]
    form = schema.with_kept(schema.ANSWER, [pa.field("kind", pa.string())])
    run, file = write_run(tmp_path / "run", "answer", table_of(form, rows)), tmp_path / "labels.jsonl"
    with site_of(run, file) as site:
        for number in range(2):
            send(site, f"/item/{number}", verdict="other", answer=MARKUP + "!")
            page = site.get(f"/item/{number}?{urlencode({'problem': MARKUP})}")
            assert page.status == 200
            assert MARKUP not in page.text
            assert [each["src"] for each in page.page.all("script")] == ["/assets/review.js"]
            assert not [each for each in page.page.elements if any(name.startswith("on") for name in each[1])]
