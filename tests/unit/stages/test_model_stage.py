"""What the model stages share: views of pixels, isolation of failing rows, the output table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.row_text.hidden_columns import TEXT
from vqa_ray.stages import model_stage as batch


def decoded(*images: tuple[int | None, np.ndarray | None], chunks: bool = False) -> pa.Table:
    """A DECODED table with a kept column `brand`; an image is (image_key, pixels), None pixels an error row."""
    rows = [
        {
            "source_key": row,
            "row_id": 100 + row,
            "image_id": f"i{row}",
            "questions": ["what?"],
            "image_key": key,
            "pixels": None if image is None else image.tobytes(),
            "height": None if image is None else image.shape[0],
            "width": None if image is None else image.shape[1],
            "status": "error" if image is None else "ok",
            "error_code": "image_missing" if image is None else None,
            "error_message": "gone" if image is None else None,
            "brand": f"b{row}",
        }
        for row, (key, image) in enumerate(images)
    ]
    table = pa.Table.from_pylist(rows, schema.with_kept(schema.DECODED, [pa.field("brand", pa.string())]))
    return pa.concat_tables([table.slice(row, 1) for row in range(len(rows))]) if chunks else table


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("chunks", [False, True])
def test_groups_hold_each_image_once_as_a_view(chunks: bool) -> None:
    one, two = picture(2, 3, 1), picture(4, 2, 2)
    table = decoded((7, one), (None, None), (9, two), (7, one), (None, two), (None, two), chunks=chunks)
    rows = schema.ok_rows(table).tolist()
    groups = batch.image_groups(table, rows)
    assert rows == [0, 2, 3, 4, 5]
    assert [group.rows for group in groups] == [(0, 3), (2,), (4,), (5,)]
    np.testing.assert_array_equal(groups[0].image, one)
    np.testing.assert_array_equal(groups[1].image, two)
    buffers = [chunk.buffers()[2] for chunk in table["pixels"].chunks]
    start = groups[0].image.__array_interface__["data"][0]
    assert any(buffer.address <= start < buffer.address + buffer.size for buffer in buffers)


def test_images_of_one_key_and_other_sizes_stay_apart() -> None:
    table = decoded((7, picture(2, 3)), (7, picture(3, 2)))
    assert [group.rows for group in batch.image_groups(table, [0, 1])] == [(0,), (1,)]


def test_rows_beside_other_texts_stay_apart_and_word_their_own() -> None:
    table = decoded(*[(7, picture(2, 3))] * 3).append_column(f"{TEXT}title", pa.array(["mug", "cup", "mug"]))
    groups = batch.image_groups(table, [0, 1, 2])
    assert [group.rows for group in groups] == [(0, 2), (1,)]
    assert [group.word("is it a {title}?") for group in groups] == ["is it a mug?", "is it a cup?"]


@settings(deadline=None)
@given(st.integers(0, 40), st.sets(st.integers(0, 39)))
def test_only_the_rows_that_fail_are_lost(count: int, poison: set[int]) -> None:
    calls = []

    def call(rows: list[int]) -> list[int]:
        calls.append(rows)
        if poison & set(rows):
            raise RuntimeError("cannot take it")
        return [10 * row for row in rows]

    results, failures = batch.bisect_failures(call, range(count))
    assert set(failures) == poison & set(range(count))
    assert results == {row: 10 * row for row in range(count) if row not in poison}
    if len(failures) == 1:
        assert len(calls) <= 2 * count.bit_length() + 1


def test_a_failure_is_told_with_its_kind_and_a_row_error_keeps_its_code() -> None:
    def call(rows: list[int]) -> list[int]:
        if 0 in rows:
            raise ValueError("bad\nshape")
        raise RowError(ErrorCode.IMAGE_ASPECT_RATIO, "too long")

    _, failures = batch.bisect_failures(call, [0, 1])
    assert (failures[0].code, failures[0].message) == (ErrorCode.MODEL_ERROR, "ValueError: bad shape")
    assert failures[1].code is ErrorCode.IMAGE_ASPECT_RATIO


def test_a_lost_device_is_no_rows_fault() -> None:
    class AcceleratorError(RuntimeError):
        pass

    def call(rows: list[int]) -> list[int]:
        raise AcceleratorError("device-side assert")

    with pytest.raises(AcceleratorError):
        batch.bisect_failures(call, [0, 1])


def test_a_call_that_forgets_a_row_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="2 rows gave 1 results"):
        batch.bisect_failures(lambda rows: [0], [0, 1])


def test_the_output_has_every_row_in_order_with_what_came_in() -> None:
    table = decoded((1, picture(2, 2)), (None, None), (3, picture(2, 2)))
    output = schema.with_kept(schema.tag_schema([("colour", False)]), batch.kept_fields(table))
    result = batch.assemble(
        output,
        table,
        {"tags": {0: ["colour:red"]}, "tag_scores": {}, "colour": {0: "red"}, "colour_score": {0: 0.5}},
        {2: RowError(ErrorCode.MODEL_ERROR, "no")},
        attempt=2,
    )
    assert result.schema == output
    assert result["row_id"].to_pylist() == [100, 101, 102]
    assert result["brand"].to_pylist() == ["b0", "b1", "b2"]
    assert result["colour"].to_pylist() == ["red", None, None]
    assert result["status"].to_pylist() == ["ok", "error", "error"]
    assert result["error_code"].to_pylist() == [None, "image_missing", "model_error"]
    assert result["error_message"].to_pylist() == [None, "gone", "no"]
    assert result["attempt"].to_pylist() == [2, 2, 2]
    assert result["warning"].null_count == 3


def test_an_empty_table_stays_one() -> None:
    table = decoded((1, picture(2, 2))).slice(0, 0)
    output = schema.with_kept(schema.ANSWER, batch.kept_fields(table))
    columns = {name: {} for name in ("question", "answer", "answer_score", "answers")}
    assert batch.bisect_failures(lambda rows: [], schema.ok_rows(table).tolist()) == ({}, {})
    assert batch.assemble(output, table, columns, {}, 1).schema == output
