"""Text that strangers wrote: made valid, and looked through."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.browse.text_filter import rows_with_words, with_valid_text

BROKEN = b"caf\xe9 \xff"


def strings(*values: bytes | None) -> pa.Array:
    """A string array of any bytes, as a Parquet file may hold it."""
    return pa.array(values, pa.binary()).view(pa.string())


def test_what_is_not_utf8_is_replaced_at_any_depth() -> None:
    plain = strings(BROKEN, None, b"good")
    in_list = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3], pa.int32()), strings(BROKEN, b"a", b"b"))
    in_struct = pa.StructArray.from_arrays([strings(BROKEN, b"x", None), pa.array([1, 2, 3])], ["text", "number"])
    table = pa.table({"plain": plain, "in_list": in_list, "in_struct": in_struct, "sound": ["é", None, "b"]})
    valid = with_valid_text(table)
    assert valid.schema == table.schema
    assert valid["sound"] is table["sound"] or valid["sound"].equals(table["sound"])
    valid.validate(full=True)
    assert valid["plain"].to_pylist() == ["caf\ufffd \ufffd", None, "good"]
    assert valid["in_list"].to_pylist() == [["caf\ufffd \ufffd", "a"], [], ["b"]]
    assert valid["in_struct"].to_pylist()[0] == {"text": "caf\ufffd \ufffd", "number": 1}
    assert rows_with_words(valid, "good").tolist() == [False, False, True]


def test_a_sliced_column_is_read_where_it_lies() -> None:
    table = pa.table({"a": strings(b"zero", BROKEN, b"two", BROKEN)}).slice(1, 2)
    assert with_valid_text(table)["a"].to_pylist() == ["caf\ufffd \ufffd", "two"]


TABLE = pa.table(
    {
        "image_id": ["photos/Dog.jpg", "photos/cat.jpg", "x"],
        "tags": [["colour:red", "kind:mug"], None, []],
        "answers": [[{"answer": "yes", "score": 0.5}], [{"answer": None, "score": 0.1}], None],
        "price": [1.0, 2.0, 3.0],
    }
)


def test_words_are_found_in_strings_lists_and_structs_in_any_case() -> None:
    def found(text: str) -> list[int]:
        return np.flatnonzero(rows_with_words(TABLE, text)).tolist()

    assert found("dog") == [0]
    assert found("PHOTOS jpg") == [0, 1]
    assert found("MUG yes") == [0]
    assert found("mug cat") == []
    assert found("  ") == [0, 1, 2]
    assert found("1.0") == [], "numbers are no words"
    assert found(".*") == [], "a word is no pattern"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=6), st.text(min_size=1, max_size=3))
def test_words_are_found_as_python_finds_them(values: list[str], word: str) -> None:
    values = [value.encode("utf-8", "replace").decode() for value in values]
    word = word.encode("utf-8", "replace").decode()
    found = rows_with_words(pa.table({"a": values}), word)
    for value, held in zip(values, found.tolist(), strict=True):
        if all(part in value for part in word.split()):
            assert held
