"""The gallery of a run: which rows it shows, their pictures, and its bounds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from tests.helpers.coloured import parquet_input, picture
from tests.unit.browse.site import table_of
from tests.unit.report.test_gallery import Page
from vqa_ray import schema
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.readers import InputConfig, Source, open_source
from vqa_ray.report.chosen_rows import MOST_SHARDS, choose_rows
from vqa_ray.report.run_gallery import write_run_gallery
from vqa_ray.schema import ROW_BITS
from vqa_ray.stages.opinions import with_opinions
from vqa_ray.storage.atomic import write_table_atomic

FETCHER = ImageFetcher(10_000_000)


def part(place: Path, form: pa.Schema, rows: Sequence[dict[str, Any]], name: str = "part-0") -> str:
    uri = str(place / f"{name}.parquet")
    write_table_atomic(uri, table_of(form, rows))
    return uri


def source_of(place: Path) -> Source:
    """An input of ten embedded images."""
    return open_source(InputConfig(str(parquet_input(place / "in", 10)), needs_question=False))


def failed(code: str = "image_missing") -> dict[str, Any]:
    return {"status": "error", "error_code": code, "error_message": "nothing is stored there"}


def gallery(place: Path, job: str, parts: Sequence[str], source: Source, limit: int = 240) -> tuple[Page, str, int]:
    file = place / "page.html"
    shown = write_run_gallery(str(file), job, parts, source=source, fetcher=FETCHER, about="fake: over in", limit=limit)
    return Page(file.read_text("utf-8")), file.read_text("utf-8"), shown


def test_rows_are_taken_from_all_over_a_run_and_some_failed_ones_last(tmp_path: Path) -> None:
    rows = [{"image_uri": f"{row}.jpg", **(failed() if row % 2 else {})} for row in range(1000)]
    parts = [part(tmp_path, schema.CAPTION, rows)]
    chosen = choose_rows(parts, 50)
    keys = [rows[0]["source_key"] for rows in chosen.images]
    sound, wrong = keys[:40], keys[40:]
    assert (chosen.total, chosen.failed, len(keys)) == (1000, 500, 50)
    assert sound == sorted(sound)
    assert (sound[0], sound[-1]) == (0, 998)
    assert all(key % 2 == 0 for key in sound)
    assert all(key % 2 for key in wrong)


def test_failed_rows_fill_what_sound_ones_leave(tmp_path: Path) -> None:
    rows = [{"image_uri": "x.jpg", **(failed() if row else {})} for row in range(9)]
    chosen = choose_rows([part(tmp_path, schema.CAPTION, rows)], 6)
    assert [rows[0]["status"] for rows in chosen.images] == ["ok"] + ["error"] * 5


def test_the_best_come_first_where_that_is_wanted(tmp_path: Path) -> None:
    scores = [0.1, None, 0.9, 0.5]
    rows = [{"image_uri": "x.jpg", "score": score, "match": score is not None} for score in scores]
    chosen = choose_rows([part(tmp_path, schema.RETRIEVE, rows)], 3, best_first=True)
    assert [rows[0]["source_key"] for rows in chosen.images] == [2, 3, 0]


def test_embedded_images_are_taken_from_few_shards(tmp_path: Path) -> None:
    rows = [{"source_key": shard << ROW_BITS | row} for shard in range(200) for row in range(3)]
    chosen = choose_rows([part(tmp_path, schema.CAPTION, rows)], 240)
    shards = {rows[0]["source_key"] >> ROW_BITS for rows in chosen.images}
    assert len(shards) == MOST_SHARDS
    assert {0, 199} <= shards


def test_the_questions_of_an_image_share_a_card(tmp_path: Path) -> None:
    keys = [0, 1, 0, 1]
    rows = [
        {"source_key": key, "question": f"q{place // 2}?", "question_index": place // 2, "answer": "red"}
        | {"answers": [{"answer": f"a{place}", "score": 0.5}], "answer_score": 0.5}
        for place, key in enumerate(keys)
    ]
    # The rows of an image may stand in different files.
    parts = [part(tmp_path, schema.ANSWER, rows[2:], "part-0"), part(tmp_path, schema.ANSWER, rows[:2], "part-1")]
    page, text, shown = gallery(tmp_path, "answer", parts, source_of(tmp_path))
    assert shown == 2
    assert len(page.all("img")) == 2
    assert text.index("q0?") < text.index("q1?")
    for said in ("a0", "a1", "a2", "a3"):
        assert said in page.text


def test_a_card_says_why_it_has_no_picture(tmp_path: Path) -> None:
    (tmp_path / "there.jpg").write_bytes(picture(0))
    rows = [
        {"image_uri": str(tmp_path / "there.jpg"), "caption": "a"},
        {"image_uri": str(tmp_path / "gone.jpg"), "caption": "b"},
        {"source_key": 99, "caption": "c"},
        {"image_uri": "http://example.org/x.jpg", "caption": "d"},
        failed(),
    ]
    page, _, shown = gallery(tmp_path, "caption", [part(tmp_path, schema.CAPTION, rows)], source_of(tmp_path))
    assert shown == 5
    # The one in error is read again too.
    assert len(page.all("img")) == 2
    assert "no picture: " in page.text
    assert "gone.jpg: nothing is stored there" in page.text
    assert "the image is not where it was" in page.text
    assert "only with --allow-http" in page.text
    assert "image_missing" in page.text


def test_an_input_that_is_gone_leaves_the_words(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    for file in (tmp_path / "in").iterdir():
        file.unlink()
    page, _, _ = gallery(tmp_path, "caption", [part(tmp_path, schema.CAPTION, [{"caption": "a dog"}])], source)
    assert "a dog" in page.text
    assert "the image cannot be read again" in page.text


def test_boxes_stay_where_they_are_on_a_smaller_picture(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), (9, 99, 9)).save(tmp_path / "wide.jpg")
    box = {"label": "dog", "x0": 500.0, "y0": 250.0, "x1": 1500.0, "y1": 750.0}
    rows = [{"image_uri": str(tmp_path / "wide.jpg"), "caption": "a dog", "boxes": [box]}]
    parts = [part(tmp_path, schema.caption_schema(boxes=True), rows)]
    page, _, _ = gallery(tmp_path, "caption", parts, source_of(tmp_path))
    (drawn,) = (each for each in page.all("div") if each.get("class") == "box")
    assert drawn["style"] == "--x:25.00;--y:25.00;--w:50.00;--h:50.00"


def test_tags_and_rows_without_any(tmp_path: Path) -> None:
    form = schema.tag_schema([("colour", False), ("motif", True)])
    rows = [
        {"tags": ["colour:red", "motif:a dog"], "colour": "red", "colour_score": 0.75}
        | {"motif": ["a dog"], "motif_score": [0.5]},
        {"tags": [], "motif": [], "motif_score": []},
    ]
    page, _, _ = gallery(tmp_path, "tag", [part(tmp_path, form, rows)], source_of(tmp_path))
    tags = {each["data-tag"] for each in page.all("button") if "data-tag" in each}
    assert tags == {"colour:red", "motif:a dog"}
    assert "0.75" in page.text
    assert "none" in page.text


FILLED = pa.schema(
    [
        *list(schema.CAPTION)[:3],
        pa.field("category", pa.string()),
        pa.field("category_score", pa.float32()),
        pa.field("note", pa.string()),
        pa.field("note_score", pa.float32()),
        pa.field("is_new", pa.bool_()),
        pa.field("is_new_score", pa.float32()),
        pa.field("sizes", pa.list_(pa.int64())),
        pa.field("sizes_score", pa.list_(pa.float32())),
        pa.field("box", pa.struct({"width": pa.float64(), "unit": pa.string()})),
        pa.field("box_score", pa.struct({"width": pa.float32(), "unit": pa.float32()})),
        pa.field("object_json", pa.string()),
        pa.field("finish_reason", pa.string()),
        *list(schema.CAPTION)[-6:],
    ]
)
FILLED_ROWS = [
    {"category": "mug", "category_score": 0.75, "note": "a word " * 20, "note_score": 0.5, "is_new": True}
    | {"is_new_score": 0.625, "sizes": [3, 4], "sizes_score": [0.5, None], "object_json": "{}"}
    | {"box": {"width": 3.5, "unit": "cm"}, "box_score": {"width": 0.1, "unit": 0.2}},
    {"object_json": '{"category": "mu', **failed("schema_unfinished")},
]


def test_objects_of_a_schema(tmp_path: Path) -> None:
    page, _, _ = gallery(tmp_path, "fill", [part(tmp_path, FILLED, FILLED_ROWS)], source_of(tmp_path))
    tags = {each["data-tag"] for each in page.all("button") if "data-tag" in each}
    assert tags == {"category:mug", "is_new:yes", "sizes:3", "sizes:4"}
    for said in ("vqa-ray answer --schema", "0.75", "a word", "width: 3.5 · unit: cm", '{"category": "mu'):
        assert said in page.text
    assert "box_score" not in page.text
    assert "object_json" not in page.text


def test_each_question_has_the_opinion_of_the_other_model(tmp_path: Path) -> None:
    """The columns of the first question are not shown as those of the image."""
    fields = with_opinions(list(schema.ANSWER), "answer")
    one = {"source_key": 0, "answer_score": 0.5, "decided_by": "first", "first_answer": "brown", "first_score": 0.99}
    rows = [
        {**one, "question": "colour?", "question_index": 0, "answer": "brown"},
        {**one, "question": "a dog?", "question_index": 1, "answer": "yes", "agrees": False, "decided_by": "second"}
        | {"first_answer": "no", "first_score": 0.25, "second_answer": "yes", "second_score": 0.66},
    ]
    page, _, _ = gallery(tmp_path, "answer", [part(tmp_path, pa.schema(fields), rows)], source_of(tmp_path))
    assert page.text.index("a dog?") < page.text.index("first model: no")
    assert "0.25" in page.text
    for column in ("decided_by", "agrees", "first_answer", "second_score", "first model: brown", "second model"):
        assert column not in page.text


def test_tags_of_two_models(tmp_path: Path) -> None:
    fields = with_opinions(list(schema.tag_schema([("colour", False)])), "tags")
    row = {"tags": ["colour:red"], "colour": "red", "colour_score": 0.75, "decided_by": "first", "agrees": False}
    row |= {"first_tags": ["colour:red"], "first_score": 0.75, "second_tags": [], "second_score": 0.5}
    page, _, _ = gallery(tmp_path, "tag", [part(tmp_path, pa.schema(fields), [row])], source_of(tmp_path))
    assert "second model: none" in page.text
    assert "first_tags" not in page.text


def test_rows_that_are_gone_are_counted(tmp_path: Path) -> None:
    rows = [{"caption": "a"}, {"caption": "b", "status": "gone", "error_code": "gone"}]
    page, _, shown = gallery(tmp_path, "caption", [part(tmp_path, schema.CAPTION, rows)], source_of(tmp_path))
    assert shown == 1
    assert "gone from the input" in page.text
    gone = {"source_key": 7, "status": "gone", "error_code": "gone"}
    asked = [{"question_index": 0, "source_key": 1}, *({**gone, "question_index": place} for place in range(2))]
    chosen = choose_rows([part(tmp_path, schema.ANSWER, asked, "asked")], 10)
    assert (chosen.total, chosen.failed, chosen.gone) == (1, 0, 1)


def test_a_page_is_bounded_whatever_the_run_holds(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    (tmp_path / "noise.png").write_bytes(file.getvalue())
    answers = [{"answer": "word " * 2_000, "score": 0.5}] * 9
    results = [{"question": "why? " * 400, "answer": "x", "answers": answers}] * 60
    rows = [{"image_uri": str(tmp_path / "noise.png"), "results": results} for _ in range(40)]
    _, text, shown = gallery(tmp_path, "answer", [part(tmp_path, schema.ANSWERS, rows)], source_of(tmp_path), 20)
    assert shown == 20
    assert "44 more in the Parquet files" in text
    assert len(text) < 20 * 250_000


def test_a_run_without_rows(tmp_path: Path) -> None:
    page, _, shown = gallery(tmp_path, "caption", [part(tmp_path, schema.CAPTION, [])], source_of(tmp_path))
    assert shown == 0
    assert not page.all("img")


def test_rows_of_earlier_runs_have_no_address_of_their_image(tmp_path: Path) -> None:
    form = schema.of_version(schema.CAPTION, 1)
    page, _, _ = gallery(tmp_path, "caption", [part(tmp_path, form, [{"caption": "a"}])], source_of(tmp_path))
    assert len(page.all("img")) == 1
