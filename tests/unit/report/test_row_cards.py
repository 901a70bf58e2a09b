"""Rows of every job as cards."""

from __future__ import annotations

import pyarrow as pa

from tests.unit.browse.site import table_of
from vqa_ray import schema
from vqa_ray.report.card import Card, Line, PixelBox, ScoredText
from vqa_ray.report.given_answers import given_answers
from vqa_ray.report.row_cards import CardMaker, Tag, fields_of, tag_attributes, text_of, verdict_of
from vqa_ray.taxonomy.taxonomy import Taxonomy


def maker_of(kind: str, table: pa.Table) -> CardMaker:
    return CardMaker(kind, table.column_names, tag_attributes(table.schema))


def cards(kind: str, table: pa.Table) -> list[Card]:
    return [maker_of(kind, table).card(row) for row in table.to_pylist()]


ERROR = {"status": "error", "error_code": "image_undecodable", "error_message": "images/1.jpg: no image"}


def test_answers() -> None:
    form = schema.with_kept(schema.answer_schema(False, boxes=True), [pa.field("price", pa.float64())])
    box = {"label": "dog", "x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0}
    answered = {
        "question": "what is it?",
        "answer": "mug",
        "answer_score": 0.5,
        "answers": [{"answer": "mug", "score": 0.5}, {"answer": "cup", "score": 0.25}],
        "boxes": [box],
        "price": 1.5,
        "warning": "question cut",
    }
    card, failed = cards("answer", table_of(form, [answered, {"question": "what is it?", **ERROR}]))
    assert card == Card(
        "images/0.jpg",
        lines=(
            Line("what is it?", (ScoredText("mug", 0.5), ScoredText("cup", 0.25))),
            Line("price", (ScoredText("1.5"),)),
        ),
        warning="question cut",
        boxes=(PixelBox("dog", 1.0, 2.0, 3.0, 4.0),),
    )
    assert (failed.error_code, failed.error_message) == ("image_undecodable", "images/1.jpg: no image")
    assert failed.lines == (Line("what is it?"),)


def test_several_answers() -> None:
    one = {"question": "is it red?", "answer": "yes", "answer_score": 0.5, "answers": [{"answer": "yes", "score": 0.5}]}
    card, failed = cards("answer", table_of(schema.ANSWERS, [{"results": [one, one | {"question": "is it?"}]}, ERROR]))
    assert [line.label for line in card.lines] == ["is it red?", "is it?"]
    assert failed.lines == ()


def test_captions() -> None:
    card, failed = cards("caption", table_of(schema.CAPTION, [{"caption": "a dog", "caption_score": 0.25}, ERROR]))
    assert card.lines == (Line("caption", (ScoredText("a dog", 0.25),)),)
    assert failed.error_code == "image_undecodable"


def test_tags() -> None:
    form = schema.tag_schema([("colour", False), ("motif", True)])
    tagged = {
        "tags": ["colour:red", "motif:dog"],
        "colour": "red",
        "colour_score": 0.5,
        "motif": ["dog"],
        "motif_score": [0.75],
    }
    assert tag_attributes(form) == ["colour", "motif"]
    table = table_of(form, [tagged, ERROR])
    ok, failed = map(maker_of("tag", table).tags, table.to_pylist())
    assert ok == (Tag("colour", "red", 0.5), Tag("motif", "dog", 0.75))
    assert failed == ()
    assert cards("tag", table)[0].lines == ()


def test_reasons_and_ranks_are_not_shown_and_an_attribute_that_does_not_apply_says_nothing() -> None:
    kind = {"name": "kind", "question": "q", "choices": {"x": {"children": ["y"]}, "z": "z"}}
    shade = {
        "name": "shade",
        "question": "q",
        "choices": ["p"],
        "when": "kind = x",
        "shortlist": {"model": "m", "k": 1},
    }
    form = Taxonomy.model_validate({"attributes": [kind, shade]}).output_schema()
    form = schema.with_kept(form, [pa.field("kind_reason", pa.string())])
    rows = [
        {
            "kind": "y",
            "kind_path": ["x", "y"],
            "shade": "p",
            "shade_score": 0.5,
            "shade_rank": 1,
            "kind_reason": "mine",
        },
        {"kind": "z", "kind_path": ["z"], "shade_reason": "not_asked"},
    ]
    common = {"status": "ok", "attempt": 1, "source_key": 0, "row_id": 0, "kind_reason": "mine"}
    table = pa.Table.from_pylist([common | row for row in rows], form)
    maker = CardMaker("tag", form.names, tag_attributes(form))
    shown = [{line.label: line.values[0].text for line in maker.card(row).lines} for row in table.to_pylist()]
    assert shown == [{"kind_path": "x, y", "kind_reason": "mine"}, {"kind_path": "z", "kind_reason": "mine"}]
    assert given_answers("tag", table).select(["row", "question", "answer"]).to_pylist() == [
        {"row": 0, "question": "kind", "answer": "y"},
        {"row": 1, "question": "kind", "answer": "z"},
        {"row": 0, "question": "shade", "answer": "p"},
    ]


def test_tags_without_attributes_are_taken_from_their_list() -> None:
    table = pa.table({"row_id": [0], "tags": [["colour:red", "new", "a:b:c"]]})
    (row,) = table.to_pylist()
    assert maker_of("index", table).tags(row) == (Tag("colour", "red"), Tag("", "new"), Tag("a", "b:c"))


def test_verdicts() -> None:
    scores = [
        {"question": "is it a mug?", "answer": None, "score": 0.75},
        {"question": "what colour is it?", "answer": "red", "score": None},
    ]
    rows = table_of(schema.RETRIEVE, [{"match": True, "score": 0.75, "scores": scores}, ERROR]).to_pylist()
    found, failed = map(verdict_of, rows)
    assert (found.match, found.score, found.error) == (True, 0.75, None)
    assert found.lines == (Line("is it a mug?", (ScoredText("yes", 0.75),)), Line("what colour is it?"))
    assert (failed.match, failed.error) == (None, "image_undecodable: images/1.jpg: no image")


def test_an_index_shows_kept_columns_and_the_tags_of_a_run() -> None:
    form = pa.schema(
        [
            *schema.embedding_schema(1, 2),
            pa.field("category", pa.string()),
            pa.field("tags", pa.list_(pa.string())),
            pa.field("colour", pa.string()),
            pa.field("colour_score", pa.float32()),
        ]
    )
    row = {"embedding": [1.0, 0.0], "category": "mug", "tags": ["colour:red"], "colour": "red", "colour_score": 0.5}
    table = table_of(form, [row, ERROR]).drop_columns(["embedding", "thumbnail"])
    card, failed = cards("index", table)
    assert card.lines == (Line("category", (ScoredText("mug"),)),)
    assert maker_of("index", table).tags(table.to_pylist()[0]) == (Tag("colour", "red", 0.5),)
    assert failed.error_code == "image_undecodable"


def test_rows_without_a_name() -> None:
    (card,) = cards("tag", table_of(schema.tag_schema([]), [{"image_id": None}]))
    assert card.title == "row 0"


def test_values_are_told_in_full_but_not_for_ever() -> None:
    assert text_of(True) == "yes"
    assert text_of(0.1 + 0.2) == "0.3"
    assert text_of(b"abc") == "3 bytes"
    assert text_of([{"a": 1, "b": None}, {"a": [2, 3]}]) == "a: 1\na: 2, 3"
    assert len(text_of("x" * 10_000)) == 2_000
    assert text_of(["x"] * 1_000).endswith("…")
    assert [field.name for field in fields_of({"a": 1, "b": None, "c": "d"})] == ["a", "c"]
