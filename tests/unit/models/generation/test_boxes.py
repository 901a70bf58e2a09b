"""Boxes out of answers: the notations, what becomes of malformed ones, and that no text raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.models.generation.boxes import (
    THOUSANDTHS,
    find_boxes,
    json_boxes,
    location_boxes,
    patch_boxes,
    tagged_boxes,
)
from vqa_ray.types import Box

LABELS = st.text(st.characters(codec="utf-8", exclude_characters="<>{}"), max_size=12).map(
    lambda s: " ".join(s.split())
)
_MARKS = "<ref> </ref> <box> </box> <|box_start|> <|box_end|> <phrase> </phrase> <object> </object> <patch_index_0044>"
_VALUES = '<patch_index_9999> {"bbox_2d": [1,2,3,4] "label": (1,2) (3, 4) , } ] [ 1e999 NaN -7 ```json dog'
PIECES = st.sampled_from([*_MARKS.split(), *_VALUES.split(), "9" * 400, "\n", "\u200b"])


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def test_qwen_vl_tags() -> None:
    text = "There is <ref>a dog</ref><box>(100,200),(300,400)</box> and <ref> two  cats </ref><box>(0,0),(10,10)</box>"
    text += "<box>(990,980),(1000,999)</box>."
    assert tagged_boxes(text) == (
        Box("a dog", 0.1, 0.2, 0.3, 0.4),
        Box("two cats", 0.0, 0.0, 0.01, 0.01),
        Box("two cats", 0.99, 0.98, 1.0, 0.999),
    )


def test_qwen2_vl_tokens_and_a_box_without_label() -> None:
    text = "<|object_ref_start|>a dog<|object_ref_end|><|box_start|>(100, 200), (300, 400)<|box_end|><|im_end|>"
    assert tagged_boxes(text) == (Box("a dog", 0.1, 0.2, 0.3, 0.4),)
    assert tagged_boxes("<box>(1,2),(3,4)</box>") == (Box("", 0.001, 0.002, 0.003, 0.004),)


def test_qwen25_json_is_in_pixels_of_the_image_the_model_saw() -> None:
    text = '```json\n[\n\t{"bbox_2d": [56, 28, 112, 84], "label": "a dog"},\n\t{"bbox_2d": [0, 0, 14, 7.5]}\n]\n```'
    assert json_boxes(text, 280, 560) == (Box("a dog", 0.1, 0.1, 0.2, 0.3), Box("", 0.0, 0.0, 0.025, 7.5 / 280))


def test_cut_json_gives_the_boxes_that_are_whole() -> None:
    whole = '{"bbox_2d": [10, 10, 20, 20], "label": "a"}, {"bbox_2d": [30, 30, 40, 40], "label": "b"}'
    text = f'```json\n[{whole}, {{"bbox_2d": [5'
    assert [box.label for box in json_boxes(text, 100, 100)] == ["a", "b"]


@pytest.mark.parametrize(
    "entry",
    [
        '{"bbox_2d": [1, 2, 3]}',
        '{"bbox_2d": [1, 2, 3, 4, 5]}',
        '{"bbox_2d": ["1", "2", "3", "4"]}',
        '{"bbox_2d": [true, 2, 3, 4]}',
        '{"bbox_2d": null}',
        '{"bbox_2d": [1, 2, NaN, 4]}',
        '{"bbox_2d": [1, 2, Infinity, 4]}',
        '{"bbox_2d": [1, 2, 1, 4]}',
        '{"bbox_2d": [200, 200, 300, 300]}',
        '{"bbox_2d" [1, 2, 3, 4]}',
    ],
)
def test_malformed_json_boxes_are_left_out(entry: str) -> None:
    good = '{"bbox_2d": [10, 10, 20, 20], "label": "good"}'
    assert [box.label for box in json_boxes(f"[{entry}, {good}]", 100, 100)] == ["good"]


def test_swapped_corners_are_put_right_and_boxes_clipped() -> None:
    assert json_boxes('{"bbox_2d": [90, 80, 10, 20]}', 100, 100) == (Box("", 0.1, 0.2, 0.9, 0.8),)
    assert json_boxes('{"bbox_2d": [-50, 20, 50, 200]}', 100, 100) == (Box("", 0.0, 0.2, 0.5, 1.0),)
    assert tagged_boxes("<box>(300,400),(100,1200)</box>") == (Box("", 0.1, 0.4, 0.3, 1.0),)


def test_kosmos_patches_equal_its_own_post_processing() -> None:
    text = (
        "<grounding> An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object> "
        "warming himself by<phrase> a fire</phrase><object><patch_index_0005><patch_index_0911>"
        "</delimiter_of_multi_objects/><patch_index_0033><patch_index_0039></object>"
        "<object><patch_index_0000><patch_index_0000></object>"
    )
    from transformers.models.kosmos2.processing_kosmos2 import clean_text_and_extract_entities_with_bboxes

    _, entities = clean_text_and_extract_entities_with_bboxes(text)
    wanted = [box for *_, boxes in entities for box in boxes]
    found = patch_boxes(text)
    assert [box.label for box in found] == ["a snowman", "a fire", "a fire", ""]
    assert [pytest.approx(box) for box in wanted] == list(map(corners, found))


def test_patches_outside_the_grid_are_left_out() -> None:
    assert patch_boxes("<object><patch_index_1024><patch_index_0863></object>") == ()
    assert patch_boxes("<object><patch_index_44><patch_index_0863></object>") == ()


FLORENCE = (
    "car<loc_52><loc_333><loc_932><loc_774>"
    "door handle<loc_425><loc_504><loc_474><loc_516><loc_0><loc_1><loc_999><loc_500>"
)


def florence_processor(size: tuple[int, int]) -> Any:
    """Its own post-processing of a text, for an image of this width and height."""
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

    class Tokenizer:
        all_special_tokens = ()

    names = ("description_with_bboxes", "polygons", "bboxes", "ocr", "description_with_bboxes_or_polygons")
    post = Florence2PostProcessor({name: {} for name in names}, Tokenizer())
    return lambda text, task: post(text=text, image_size=size, parse_tasks=task)[task]


def in_pixels(found: tuple[Box, ...], size: tuple[int, int]) -> list[list[int]]:
    """Corners as whole pixels, which its own processor cuts them to."""
    return [[int(value * extent) for value, extent in zip(corners(box), size * 2, strict=True)] for box in found]


def test_florence_boxes_equal_its_own_post_processing() -> None:
    size = (640, 427)
    own = florence_processor(size)
    wanted = own(FLORENCE, "description_with_bboxes")
    found = location_boxes(FLORENCE, "boxes")
    assert (
        [box.label for box in found] == [each["cat_name"] for each in wanted] == ["car", "door handle", "door handle"]
    )
    assert in_pixels(found, size) == [each["bbox"] for each in wanted]
    regions = "<loc_52><loc_333><loc_932><loc_774><loc_1><loc_2><loc_3><loc_4>"
    assert in_pixels(location_boxes(regions, "boxes"), size) == [each["bbox"] for each in own(regions, "bboxes")]


def test_florence_quadrilaterals_and_polygons_have_the_box_around_them() -> None:
    size = (1000, 1000)
    own = florence_processor(size)
    quads = "EXIT<loc_10><loc_20><loc_90><loc_25><loc_88><loc_60><loc_8><loc_55>"
    ((quad, text),) = [(each["quad_box"], each["text"]) for each in own(quads, "ocr")]
    (box,) = location_boxes(quads, "quadrilaterals")
    assert (box.label, in_pixels((box,), size)) == (
        text,
        [[min(quad[0::2]), min(quad[1::2]), max(quad[0::2]), max(quad[1::2])]],
    )
    outline = "<loc_10><loc_20><loc_90><loc_25><loc_88><loc_60><sep><loc_200><loc_300><loc_210><loc_310><loc_7>"
    (found,) = own(outline, "polygons")
    points = [value for polygon in found["polygons"] for value in polygon]
    (box,) = location_boxes(outline, "polygons")
    assert in_pixels((box,), size) == [[min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])]]
    marked = f"a cat<poly>{outline}</poly><poly><loc_1><loc_2><loc_3><loc_4></poly>"
    assert [each["cat_name"] for each in own(marked, "description_with_bboxes_or_polygons")] == ["a cat", "a cat"]
    assert [box.label for box in location_boxes(marked, "boxes")] == ["a cat", "a cat"]


@pytest.mark.parametrize(
    "text", ["a cat", "a cat<loc_1><loc_2><loc_3>", "<poly></poly><sep><poly>", "<loc_9><loc_9><loc_9><loc_9>"]
)
def test_florence_places_without_an_area_are_left_out(text: str) -> None:
    assert location_boxes(text, "boxes") == location_boxes(text, "polygons") == ()


@given(LABELS, st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_every_notation_gives_back_what_was_written(label: str, values: list[int]) -> None:
    x0, x1, y0, y1 = (value / THOUSANDTHS for value in [*sorted(values[:2]), *sorted(values[2:])])
    wanted = (Box(label, x0, y0, x1, y1),) if x0 < x1 and y0 < y1 else ()
    first, second, third, fourth = values[0], values[2], values[1], values[3]
    tagged = f"<ref>{label}</ref><box>({first},{second}),({third},{fourth})</box>"
    assert find_boxes(tagged, 7, 7) == wanted
    as_json = json.dumps({"bbox_2d": [first, second, third, fourth], "label": label})
    assert find_boxes(f"```json\n[{as_json}]\n```", THOUSANDTHS, THOUSANDTHS) == wanted


@given(
    st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=40).map("".join), st.floats(0, 5_000), st.floats(0, 5_000)
)
def test_no_text_raises_and_all_boxes_lie_inside(text: str, height: float, width: float) -> None:
    for box in find_boxes(text, height, width):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
