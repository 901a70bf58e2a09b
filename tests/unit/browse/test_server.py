"""The page over HTTP: what it shows, what it refuses, and that nothing else comes out."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.indexes import thumbnail, write_index
from tests.unit.browse.site import (
    HOSTILE,
    MARKUP,
    Site,
    coloured_index,
    finder_of,
    served,
    server_of,
    table_of,
    write_run,
)
from vqa_ray import schema
from vqa_ray.browse.dataset import open_collection
from vqa_ray.browse.search import Finder, SearchHits
from vqa_ray.browse.server import Server, Settings
from vqa_ray.images.decoder import ImageLimits


def jpeg(colour: tuple[int, int, int] = (220, 30, 30), size: tuple[int, int] = (40, 30)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An index of 30 one-colour images, of which row 4 (red) is in error."""
    limits = ImageLimits(max_image_bytes=20_000, max_image_pixels=1_000_000)
    collection = coloured_index(tmp_path_factory.mktemp("index"))
    with served(server_of(collection, settings=Settings(limits=limits))) as site:
        yield site


def test_all_rows_in_order_a_page_at_a_time(site: Site) -> None:
    first, second = site.get("/").page, site.get("/?page=2").page
    assert first.opened == list(range(24))
    assert second.opened == list(range(24, 30))
    assert "page 1 of 2" in first.text
    assert [each["href"] for each in first.all("a", rel="next")] == ["/?page=2"]
    assert [each["href"] for each in second.all("a", rel="prev")] == ["/"]
    assert not second.all("a", rel="next")
    assert site.get("/?page=999").page.opened == second.opened, "past the end is the end"


def test_a_text_finds_what_looks_like_it(site: Site) -> None:
    reply = site.get("/?text=a+red+mug")
    reds = [row for row in range(0, 30, 4) if row != 4]
    assert reply.page.opened[: len(reds)] == reds
    assert 4 not in reply.page.opened, "without a vector it cannot be found"
    assert "29 images, most similar first; exact search" in reply.text
    assert reply.page.all("input", name="text")[0]["value"] == "a red mug"


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("verify=is+it+red", "Nothing was verified"),
        ("verify=is+it+red&text=red&by=words", "Nothing was verified"),
        ("text=red&only=1", "“matches only” has no effect"),
        ("text=red", ""),
    ],
)
def test_a_part_of_the_query_without_effect_is_named(site: Site, query: str, note: str) -> None:
    reply = site.get(f"/?{query}")
    assert reply.status == 200
    assert reply.page.opened, "the rows are shown all the same"
    assert (note in reply.text) if note else ("no effect" not in reply.text and "verified" not in reply.text)


def test_words_find_rows_that_hold_them_errors_too(site: Site) -> None:
    page = site.get("/?by=words&text=undecodable").page
    assert page.opened == [4]
    assert "image_undecodable" in page.text
    assert "images/4.jpg: not an image" in page.text
    assert site.get("/?by=words&text=GREEN+images/1").page.opened == [1, 13, 17]


def test_facets_narrow_and_count(site: Site) -> None:
    page = site.get("/?f.colour=green&f.status=ok").page
    assert page.opened == list(range(1, 30, 4))
    assert {("colour", "green"), ("colour", "red"), ("status", "ok")} <= page.facets
    assert ("status", "error") not in page.facets, "no green one is in error"
    chosen = page.all("input", name="f.colour", value="green")[0]
    assert "checked" in chosen
    assert "Filter (2)" in page.text
    both = site.get("/?f.colour=green&f.colour=red").page
    assert len(both.opened) == 16
    assert site.get("/?f.status=error").page.opened == [4]
    assert "No row matches." in site.get("/?f.status=error&f.colour=green").page.text


def test_what_is_narrowed_is_searched(site: Site) -> None:
    assert site.get("/?text=red&f.colour=blue").page.opened == list(range(2, 30, 4))


def test_rows_like_a_row(site: Site) -> None:
    page = site.get("/?like=1").page
    assert page.opened[:8] == list(range(1, 30, 4))
    assert page.all("img", src="/thumbnail/1")
    assert "this row has no vector" in site.get("/?like=4").text
    assert site.get("/?like=30").status == 400


def test_an_image_finds_what_looks_like_it(site: Site) -> None:
    token = re.search(rb'"image": "([0-9a-f]{32})"', site.post("/image", jpeg((40, 70, 210))).body)
    assert token is not None
    image = token[1].decode()
    page = site.get(f"/?image={image}").page
    assert page.opened[:7] == list(range(2, 30, 4))
    picture = site.get(f"/query-image/{image}")
    assert (picture.status, picture.headers["Content-Type"]) == (200, "image/jpeg")
    both = site.get(f"/?image={image}&text=red").page.opened[:14]
    assert {row % 4 for row in both} == {0, 2}
    assert site.get(f"/?image={image}&text=images/2&by=words").page.opened[:3] == [2, 22, 26], "words only narrow"
    assert "no longer kept" in site.get(f"/?image={'0' * 32}").text
    assert site.get(f"/query-image/{'0' * 32}").status == 404


def test_a_row_shows_everything(site: Site) -> None:
    page = site.get("/row/4").page
    for shown in ("images/4.jpg", "image_undecodable", "not an image", "colour", "red", "row_id", "source_key"):
        assert shown in page.text
    assert not page.all("img")
    assert site.get("/row/3").page.all("img", src="/picture/3")
    assert site.get("/row/30").status == 404


def test_thumbnails_are_jpeg_and_nothing_else(site: Site) -> None:
    reply = site.get("/thumbnail/0")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")
    assert reply.body == thumbnail((220, 30, 30))
    for path in ("/thumbnail/4", "/thumbnail/30", "/thumbnail/999999999999"):
        assert site.get(path).status == 404


TRAVERSALS = [
    "/../etc/passwd",
    "/thumbnail/../../../../etc/passwd",
    "/thumbnail/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/assets/../server.py",
    "/assets/..%2fserver.py",
    "/assets/%2e%2e/server.py",
    "/assets//etc/passwd",
    "/assets/page.html.j2",
    "/assets/",
    "/row/../../etc/passwd",
    "/row/-1",
    "/row/1.0",
    "/row/١",
    "/query-image/../../../etc/passwd",
    "/_vqa_ray/versions/000001.json",
    "/updates/000001-arrays00/part-000000.parquet",
    "//etc/passwd",
    "/%00",
    "/static/x",
    "/file:///etc/passwd",
    "/\\..\\..\\etc\\passwd",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_nothing_but_its_own_pages_comes_out(site: Site, path: str) -> None:
    reply = site.get(quote(path, safe="/%:\\."))
    assert reply.status in (400, 404)
    assert b"root:" not in reply.body
    assert b"import" not in reply.body


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["..", "%2e%2e", "etc", "passwd", "row", "thumbnail", "assets", "1", "", "%2f", "%5c"]),
        min_size=1,
        max_size=6,
    )
)
def test_no_path_leads_out(site: Site, parts: list[str]) -> None:
    reply = site.get("/" + "/".join(parts))
    assert b"root:" not in reply.body
    assert reply.status in (200, 400, 404)
    if reply.status == 200:
        assert "/".join(parts) in ("row/1", "thumbnail/1", "")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(site: Site, method: str) -> None:
    assert site.ask(method, "/", b"", {}).status == 405


def test_an_upload_is_limited(site: Site) -> None:
    told = b"the image is larger than 0.0191 MiB, the limit of --max-upload\n"
    large = site.post("/image", b"x" * 20_001)
    assert (large.status, large.body) == (413, told)
    claimed = site.ask("POST", "/image", b"x", {"Content-Length": str(10**12)})
    assert (claimed.status, claimed.body) == (413, told)
    chunked = site.post("/image", iter([b"x" * 5_000] * 8))
    assert (chunked.status, chunked.body) == (413, told)
    assert site.get("/").status == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "image_missing"),
        (b"<svg onload=alert(1)>", "image_unsupported"),
        (jpeg()[:200], "image_undecodable"),
        (jpeg(size=(1100, 1000)), "image_too_large"),
    ],
)
def test_what_cannot_be_searched_by_is_told(site: Site, body: bytes, told: str) -> None:
    reply = site.post("/image", body)
    assert reply.status == 422
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert told in reply.text


def test_strangers_are_refused(site: Site) -> None:
    for host in ("evil.example", f"evil.example:{site.port}", ""):
        reply = site.get("/", Host=host)
        assert (reply.status, b"images/" in reply.body) == (403, False)
    assert site.get("/", Host=f"localhost:{site.port}").status == 200
    assert site.get("/thumbnail/1", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert site.post("/image", jpeg(), Origin="http://evil.example").status == 403


@pytest.mark.parametrize("path", ["/", "/row/1", "/thumbnail/1", "/assets/browse.js", "/nothing", "/?page=x"])
def test_browsers_are_told_to_be_strict(site: Site, path: str) -> None:
    headers = site.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/?text=red&f.colour=red", "/row/4", "/nothing"])
def test_a_page_needs_nothing_from_elsewhere_and_has_nothing_inline(site: Site, path: str) -> None:
    page = site.get(path).page
    for tag, attributes in page.elements:
        assert tag not in ("style", "iframe", "object", "base")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action"):
            assert re.match(r"^(/(?!/)|#)", attributes.get(name) or "/"), (tag, attributes)
        if tag == "script":
            assert attributes.get("src") == "/assets/browse.js"
    for name in ("browse.js", "browse.css"):
        assert b"http" not in site.get(f"/assets/{name}").body


@pytest.mark.parametrize("query", ["surprise=1", "page=x", "by=smell", "text=" + "x" * 1001, "like=1e9"])
def test_wrong_addresses_are_told_on_the_page(site: Site, query: str) -> None:
    reply = site.get(f"/?{query}")
    assert reply.status == 400
    assert "Invalid address" in reply.page.text
    assert reply.page.all("form", id="search"), "one can go on from here"


def test_nothing_can_be_verified_without_a_model(site: Site) -> None:
    assert not site.get("/").page.all("input", name="verify")
    reply = site.get("/?text=red&verify=is+it+red")
    assert (reply.status, "--verify-model" in reply.text) == (400, True)


def test_a_model_that_fails_is_told(site: Site) -> None:
    reply = site.get("/?text=FAKE_FAILURE")
    assert (reply.status, "the model cannot embed the query" in reply.text) == (400, True)


def elements(page: Any) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attributes)) for tag, attributes in page.elements]


def hostile_index(place: Path, texts: list[str]) -> Site:
    count = len(texts)
    vectors = np.tile(np.eye(14, dtype=np.float32)[0], (count, 1))
    write_index(
        place,
        vectors,
        failed=[0],
        columns={
            "image_id": texts,
            "image_uri": texts,
            "error_message": [texts[0]] + [None] * (count - 1),
            "warning": [None, *texts[1:]],
            "kind": texts,
            "tags": [[f"kind:{text}"] for text in texts],
        },
    )
    return open_collection(str(place))


def test_text_from_data_stays_text(tmp_path: Path) -> None:
    # Names are shown in two parts where they hold a slash.
    plain = ["a/" * ("/" in text) + f"plain{place}" for place, text in enumerate(HOSTILE)]
    with (
        served(server_of(hostile_index(tmp_path / "hostile", list(HOSTILE)))) as site,
        served(server_of(hostile_index(tmp_path / "plain", plain))) as other,
    ):
        for path in ("/", "/row/0", "/row/3", "/?text=x", "/?f.kind={}", "/?by=words&text={}", "/?surprise{}=1"):
            asked = site.get(path.format(quote(MARKUP))).page
            expected = other.get(path.format(plain[0])).page
            assert elements(asked) == elements(expected), path
            assert not asked.all("img", src="x")
        page = site.get("/").page
        for text in HOSTILE:
            assert text.replace("\x00", "\ufffd") in page.text.replace("\x00", "\ufffd")
        assert site.get("/").page.text.count(MARKUP) >= 4


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
def test_any_question_leaves_the_elements_as_they_are(site: Site, text: str) -> None:
    encoded = quote(text.encode("utf-8", "surrogatepass"))
    asked = site.get(f"/?by=words&text=no-such-word{encoded}").page
    assert elements(asked) == elements(site.get("/?by=words&text=no-such-word").page)


def test_a_lone_surrogate_does_not_break_the_page(site: Site) -> None:
    assert site.get("/?text=%ED%A0%80red").status == 200
    assert site.get("/?f.colour=%ED%A0%80").status == 200


def test_an_empty_index_says_so(tmp_path: Path) -> None:
    write_index(tmp_path, np.empty((0, 14), np.float32))
    collection = open_collection(str(tmp_path))
    with served(server_of(collection)) as site:
        reply = site.get("/")
        assert (reply.status, "it holds no rows" in reply.text) == (200, True)
        assert site.get("/?text=red").status == 200
        assert site.get("/thumbnail/0").status == 404


def test_an_index_that_is_taken_away_meanwhile_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collection = coloured_index(tmp_path / "index")
    with served(server_of(collection)) as site:
        (tmp_path / "index").rename(tmp_path / "gone")
        for path in ("/", "/?text=red", "/thumbnail/0"):
            reply = site.get(path)
            assert reply.status == 500
            assert "The files cannot be read" in reply.text
            assert str(tmp_path) not in reply.text
        (tmp_path / "gone").rename(tmp_path / "index")
        assert site.get("/?text=red").status == 200
    assert "GET / failed" in caplog.text


class SlowFinder(Finder):
    """A finder that waits to be let through."""

    def find(self, query: Any, among: Any, expression: str = "") -> SearchHits:
        assert self.gate.wait(30)
        return super().find(query, among, expression)

    gate: threading.Event


def test_a_search_that_takes_long_does_not_hold_the_page(tmp_path: Path) -> None:
    collection = coloured_index(tmp_path)
    finder = finder_of(collection)
    finder.__class__ = SlowFinder
    finder.gate = threading.Event()  # type: ignore[attr-defined]
    settings = Settings(timeout_s=0.05, max_queued=1)
    with served(Server(collection, finder, settings=settings)) as site:
        slow = site.get("/?text=red")
        assert (slow.status, slow.headers["Retry-After"]) == (503, "5")
        assert "the search goes on" in slow.text
        assert site.get("/").status == 200, "what needs no model is there"
        assert "wait for the model" in site.get("/?text=blue").text
        finder.gate.set()  # type: ignore[attr-defined]
        while site.get("/?text=red").status != 200:
            pass


def test_results_of_a_run(tmp_path: Path) -> None:
    error = {"status": "error", "error_code": "image_missing", "error_message": MARKUP}
    rows = [
        {
            "question": "is it red?",
            "answer": "yes",
            "answer_score": 0.875,
            "answers": [{"answer": "yes", "score": 0.875}],
        },
        {"question": MARKUP, **error},
    ]
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows))
    with served(server_of(open_collection(run))) as site:
        page = site.get("/").page
        assert page.opened == [0, 1]
        for shown in ("is it red?", "0.88", "image_missing", MARKUP, "no picture", "results of answer"):
            assert shown in page.text
        assert [each["x2"] for each in page.all("line")] == ["88"]
        assert not page.all("select", name="by"), "there is nothing to search by look"
        assert not page.all("input", type="file")
        assert site.get("/?text=RED").page.opened == [0]
        assert site.get("/?image=" + "0" * 32).status == 400
        assert site.post("/image", jpeg()).status == 409


def test_boxes_lie_over_the_picture_of_the_index(tmp_path: Path) -> None:
    coloured_index(tmp_path / "index", 3, failed=[])
    box = {"label": "dog", "x0": 4.0, "y0": 3.0, "x1": 12.0, "y1": 12.0}
    table = table_of(schema.caption_schema(boxes=True), [{"caption": "a dog", "caption_score": 0.5, "boxes": [box]}])
    run = write_run(tmp_path / "run", "caption", table)
    with served(server_of(open_collection(run, index=str(tmp_path / "index")))) as site:
        (outline,) = site.get("/").page.all("rect")
        assert outline == {"x": "25.00", "y": "25.00", "width": "50.00", "height": "75.00"}


def test_an_index_on_s3(s3_session: str) -> None:
    collection = coloured_index(f"{s3_session}/browsed", 6)
    with served(server_of(collection)) as site:
        assert site.get("/?text=red").page.opened[0] == 0
        assert site.get("/thumbnail/0").status == 200
        assert "s3://" in site.get("/").text
