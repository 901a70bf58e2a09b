"""The gallery page: escaped, self-contained, bounded, and complete."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vqa_ray.report.card import Card, Line, PixelBox, ScoredText, caption_line, pixel_boxes
from vqa_ray.report.gallery import Fact, Header, Measure, render_gallery, write_gallery

HEADER = Header("a title", "about it", 3, (Fact("images", "3"),), (Measure("is there a dog?", 0.953, 600),))
MARKUP = "<script>alert('x')</script>\"'&</title><img src=x onerror=alert(1)>"


def jpeg(width: int = 800, height: int = 400) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(data, "JPEG")
    return data.getvalue()


class Page(HTMLParser):
    """Elements by name, and all text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def test_shows_everything_of_a_card() -> None:
    card = Card(
        "mug.jpg",
        jpeg(),
        ("colour:red",),
        (
            Line("colour", (ScoredText("red", 0.91),), "red", True),
            Line("what is it?", (ScoredText("cup", 0.5), ScoredText("mug", 0.25)), "mug", False),
            Line("motif", (), "none", True),
        ),
        warning="question cut",
    )
    page = Page(render_gallery(HEADER, [card]))
    for shown in (
        "a title",
        "95.3 %",
        "600",
        "mug.jpg",
        "0.91",
        "✓ right",
        "✗ truth: mug",
        "✗ 1 wrong",
        "question cut",
    ):
        assert shown in page.text
    (picture,) = page.all("img")
    assert (picture["src"] or "").startswith("data:image/jpeg;base64,")
    assert picture["alt"] == "mug.jpg"
    (item,) = [each for each in page.all("li") if "data-status" in each]
    assert item["data-status"] == "wrong"
    assert item["data-tags"] == '["colour:red"]'


def test_shows_errors_with_code_and_reason() -> None:
    page = Page(
        render_gallery(HEADER, [Card("a.jpg", b"no image", error_code="image_undecodable", error_message="bad")])
    )
    assert page.all("img") == []
    for shown in ("no picture", "image_undecodable", "bad"):
        assert shown in page.text


def everywhere(text: str) -> Card:
    line = Line(text, (ScoredText(text, 0.5),), text, False)
    return Card(text, None, (text,), (line,), text, text, text)


def test_markup_is_text_wherever_it_stands() -> None:
    header = Header(MARKUP, MARKUP, 2, (Fact(MARKUP, MARKUP),), (Measure(MARKUP, 0.5, 1),))
    page = Page(render_gallery(header, [everywhere(MARKUP)]))
    plain = Page(render_gallery(Header("t", "a", 2, (Fact("f", "v"),), (Measure("m", 0.5, 1),)), [everywhere("x")]))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text.count(MARKUP) >= 12
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)


FRAGMENTS = [
    "<b>",
    "</p>",
    "</script>",
    "-->",
    '"',
    "'",
    " onload=x",
    "&lt;",
    "&",
    "{{ 7 }}",
    "\\",
    "\x00",
    "\u2028",
    "\u202e",
]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.characters()), min_size=1, max_size=8).map("".join))
def test_any_text_leaves_the_elements_as_they_are(text: str) -> None:
    page = Page(render_gallery(HEADER, [everywhere(text)]))
    plain = Page(render_gallery(HEADER, [everywhere("x")]))
    assert [(tag, sorted(attributes)) for tag, attributes in page.elements] == [
        (tag, sorted(attributes)) for tag, attributes in plain.elements
    ]


def test_needs_nothing_beside_itself() -> None:
    page = render_gallery(HEADER, [Card("a", jpeg())])
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"https?://", page)
    parsed = Page(page)
    assert parsed.all("link") == parsed.all("iframe") == []
    assert all("src" not in each for each in parsed.all("script"))
    assert all((each["src"] or "").startswith("data:") for each in parsed.all("img"))


def test_reads_no_further_than_its_limit_and_says_so() -> None:
    drawn = []

    def cards() -> Iterator[Card]:
        for number in range(1000):
            drawn.append(number)
            yield Card(f"card {number}")

    page = Page(render_gallery(Header("t", "a", 1000), cards(), limit=5))
    assert len(drawn) == 5
    assert "Shown are 5 of 1,000 images" in page.text
    assert "card 4" in page.text
    assert "Shown are" not in Page(render_gallery(Header("t", "a", 1), [Card("a")])).text
    with pytest.raises(ValueError, match="at least 1"):
        render_gallery(HEADER, [], limit=0)


def test_writes_one_file(tmp_path: Path) -> None:
    target = tmp_path / "gallery.html"
    write_gallery(str(target), HEADER, [Card("a lone surrogate \ud800 in a name")])
    assert "a lone surrogate ? in a name" in target.read_text("utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["gallery.html"]


def test_boxes_lie_over_the_picture_in_percent_with_escaped_labels() -> None:
    boxes = (
        PixelBox("dog", 200.0, 100.0, 600.0, 400.0),
        PixelBox(MARKUP, -50.0, 0.0, 900.0, 40.0),
        PixelBox("", 0, 0, 8, 4),
    )
    page = render_gallery(HEADER, [Card("a", jpeg(), boxes=boxes)])
    found = Page(page)
    outlines = [each["style"] for each in found.all("div") if each.get("class") == "box"]
    assert outlines == [
        "--x:25.00;--y:25.00;--w:50.00;--h:75.00",
        "--x:0.00;--y:0.00;--w:100.00;--h:10.00",
        "--x:0.00;--y:0.00;--w:1.00;--h:1.00",
    ]
    assert "dog" in found.text
    assert MARKUP in found.text
    assert MARKUP not in page
    assert page.count("<script") == 1


def test_boxes_follow_a_turned_photo() -> None:
    exif, data = Image.Exif(), io.BytesIO()
    exif[274] = 6
    Image.new("RGB", (800, 400)).save(data, "JPEG", exif=exif)
    page = Page(
        render_gallery(HEADER, [Card("a", data.getvalue(), boxes=(PixelBox("x", 100.0, 200.0, 200.0, 400.0),))])
    )
    (outline,) = [each["style"] for each in page.all("div") if each.get("class") == "box"]
    assert outline == "--x:25.00;--y:25.00;--w:25.00;--h:25.00"


@pytest.mark.parametrize("image", [None, b"no image"])
def test_boxes_without_a_picture_are_not_drawn(image: bytes | None) -> None:
    page = Page(render_gallery(HEADER, [Card("a", image, boxes=(PixelBox("dog", 0.0, 0.0, 1.0, 1.0),))]))
    assert not [each for each in page.all("div") if each.get("class") == "box"]


def test_boxes_come_from_output_rows() -> None:
    box = {"label": "dog", "x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0}
    rows = [{"boxes": [box, box | {"label": None}]}, {"boxes": [box]}, {"boxes": None}, {}]
    assert pixel_boxes(rows) == (PixelBox("dog", 1.0, 2.0, 3.0, 4.0), PixelBox("", 1.0, 2.0, 3.0, 4.0))
    assert caption_line({"caption": "a dog", "caption_score": 0.5}) == Line("caption", (ScoredText("a dog", 0.5),))
    assert caption_line({"caption": None, "caption_score": None}) == Line("caption")
