from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.helpers.kept_columns import KEPT_COLUMNS
from tests.unit.readers.inputs import errors, open_at, read, refused, rows_of, write_parquet
from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.readers import read_shard
from vqa_ray.readers.passthrough_types import common, storable
from vqa_ray.readers.source import parse_keep


def test_bytes_and_questions_come_with_identity(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"one", b"two"], "question": [" what? ", "who?"]})
    source = open_at(file)
    assert (source.format, source.total_rows, source.multi_question) == ("parquet", 2, False)
    first, second = rows_of(source)
    assert first["image"] == b"one"
    assert first["questions"] == ["what?"]
    assert first["status"] == "ok"
    assert first["image_uri"] is first["question_id"] is None
    assert len(first["image_id"]) == 16
    assert first["image_id"] != second["image_id"]
    assert first["row_id"] != second["row_id"]


def test_user_ids_win_and_null_ones_are_hashed(tmp_path: Path) -> None:
    columns = {
        "image": [b"one", b"one"],
        "question": ["q", "q"],
        "image_id": pa.array([7, None], pa.int32()),
        "question_id": pa.array([datetime.date(2024, 5, 6), None]),
        "row_id": pa.array([41, None], pa.uint8()),
    }
    file = write_parquet(tmp_path / "a.parquet", columns)
    plain = write_parquet(tmp_path / "b.parquet", {"image": [b"one"], "question": ["q"]})
    first, second = read(file)
    assert (first["row_id"], first["image_id"], first["question_id"]) == (41, "7", "2024-05-06")
    assert (second["row_id"], second["image_id"]) == (read(plain)[0]["row_id"], read(plain)[0]["image_id"])


@pytest.mark.parametrize(
    ("values", "given"),
    [
        (pa.array([True]), "true"),
        (pa.array([2.0]), "2"),
        (pa.array([2.5]), "2.5"),
        (pa.array([decimal.Decimal("1.20")]), "1.20"),
        (pa.array(["007"]), "007"),
        (pa.array([b"xyz"]), "xyz"),
        (pa.array(["k"]).dictionary_encode(), "k"),
        (pa.array([2**64 - 1], pa.uint64()), str(2**64 - 1)),
        (pa.array([1], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    ],
)
def test_ids_of_any_scalar_type_become_text(tmp_path: Path, values: pa.Array, given: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"i"], "question": ["q"], "image_id": values})
    assert read(file)[0]["image_id"] == given


def test_hugging_face_struct_large_and_dictionary_types(tmp_path: Path) -> None:
    image = pa.array(
        [{"bytes": b"i", "path": "a.jpg"}, {"bytes": None, "path": "b/c.jpg"}, {"bytes": None, "path": None}, None],
        pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())]),
    )
    questions = pa.array([["q", "r"], ["s"], ["t"], ["u"]], pa.large_list(pa.large_string()))
    rows = read(write_parquet(tmp_path / "a.parquet", {"image": image, "questions": questions}))
    assert [row["image"] for row in rows] == [b"i", None, None, None]
    assert [row["image_uri"] for row in rows] == [None, f"{tmp_path}/b/c.jpg", None, None]
    assert [row["image_id"] for row in rows] == ["a.jpg", "b/c.jpg", None, None]
    assert rows[0]["questions"] == ["q", "r"]
    assert errors(rows)[2:] == [("image_missing", "the row has no image and no image URI")] * 2

    coded = {
        "image_uri": pa.array([f"{tmp_path}/x.jpg"] * 2).dictionary_encode(),
        "question": pa.array(["q", None]).dictionary_encode(),
    }
    rows = read(write_parquet(tmp_path / "b.parquet", coded))
    assert rows[0]["image_uri"] == f"{tmp_path}/x.jpg"
    assert errors(rows) == [None, ("question_missing", "question in column 'question' is null")]


def test_columns_of_nulls_are_row_errors_not_refusals(tmp_path: Path) -> None:
    rows = read(
        write_parquet(tmp_path / "a.parquet", {"image": pa.nulls(2), "question": ["q", "r"], "row_id": pa.nulls(2)})
    )
    assert [row["error_code"] for row in rows] == ["image_missing"] * 2
    assert rows[0]["row_id"] != rows[1]["row_id"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": [1], "question": ["q"]},
            "a.parquet: column 'image' is int64; wanted for image is binary or struct<bytes: binary, path: string>",
        ),
        (
            {"image": ["a.jpg"], "image_uri": ["b.jpg"], "question": ["q"]},
            "a.parquet: column 'image' is string; wanted for image is binary or struct<bytes: binary, path: string> "
            "(names of image files belong in image_uri: --column image_uri=NAME)",
        ),
        ({"image": [b"i"], "question": [1]}, "a.parquet: column 'question' is int64; wanted for question is string"),
        (
            {"image_uri": [b"i"], "question": ["q"]},
            "a.parquet: column 'image_uri' is binary; wanted for image_uri is string",
        ),
        (
            {"image": [b"i"], "question": ["q"], "row_id": ["x"]},
            "a.parquet: column 'row_id' is string; wanted for row_id is int64",
        ),
        (
            {"image": [b"i"], "question": ["q"], "image_id": [[1]]},
            "a.parquet: column 'image_id' is list<element: int64>; wanted for image_id is a string, a number, or a "
            "time in a known zone",
        ),
        (
            {"image": [b"i"], "questions": ["q"]},
            "a.parquet: column 'questions' is string; wanted for questions is list<string>",
        ),
        (
            {"image": [b"i"], "text": ["q"]},
            "a.parquet: no column 'question' or 'questions'; the columns are: image, text; "
            "name it with --column question=NAME, or ask every image with --question TEXT",
        ),
        (
            {"picture": [b"i"], "question": ["q"]},
            "a.parquet: no column 'image' or 'image_uri'; the columns are: picture, question; "
            "name it with --column image_uri=NAME",
        ),
        (
            {"image": [b"i"], "question": ["q"], "questions": [["q"]]},
            "a.parquet: has both 'question' and 'questions'; "
            "choose with --column question=NAME or --column questions=NAME",
        ),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    assert refused(write_parquet(tmp_path / "a.parquet", columns)) == message


def test_row_id_beyond_int64_is_malformed(tmp_path: Path) -> None:
    columns = {"image": [b"i"], "question": ["q"], "row_id": pa.array([2**63], pa.uint64())}
    (row,) = read(write_parquet(tmp_path / "a.parquet", columns))
    assert errors([row]) == [
        ("row_malformed", "column 'row_id' holds 9223372036854775808 (an integer); expected an int64")
    ]
    assert row["image"] is None


def test_text_that_is_not_utf8_costs_its_own_row(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffq"))
    rows = read(write_parquet(tmp_path / "a.parquet", {"image": [b"i", b"j"], "question": broken}))
    assert errors(rows) == [
        ("row_malformed", "column 'question' holds text that is not UTF-8; expected a string"),
        None,
    ]


def test_files_are_split_by_row_groups(tmp_path: Path) -> None:
    count = 5_000
    columns = {"image": [b"i%d" % i for i in range(count)], "question": ["q"] * count}
    write_parquet(tmp_path / "a.parquet", columns, row_group_size=700)
    write_parquet(tmp_path / "b.parquet", {"image": [b"z"], "question": ["q"]})
    source = open_at(tmp_path)
    assert [(shard.start, shard.stop, shard.rows) for shard in source.shards] == [
        (0, 2, 1400), (2, 4, 1400), (4, 6, 1400), (6, 8, 800), (0, 1, 1),
    ]  # fmt: skip
    assert source.total_rows == count + 1
    assert [row["image"] for row in rows_of(source)] == [*columns["image"], b"z"]


def test_only_wanted_rows_are_read_and_keep_their_keys(tmp_path: Path) -> None:
    columns = {"image": [b"i%d" % i for i in range(50)], "question": ["q"] * 50}
    source = open_at(write_parquet(tmp_path / "a.parquet", columns, row_group_size=10))
    keys = {3, 27, 28, 49, (1 << schema.ROW_BITS) + 4}
    found = pa.concat_tables(read_shard(source, source.shards[0], keys))
    assert found["source_key"].to_pylist() == [3, 27, 28, 49]
    assert found["image"].to_pylist() == [b"i3", b"i27", b"i28", b"i49"]
    assert list(read_shard(source, source.shards[0], ())) == []


def test_files_without_rows_do_not_matter_but_an_input_without_rows_does(tmp_path: Path) -> None:
    empty = pa.table({"image": pa.array([], pa.binary()), "question": pa.array([], pa.string())})
    write_parquet(tmp_path / "a.parquet", empty)
    assert refused(tmp_path) == f"{tmp_path}: the input is empty: 1 Parquet files hold no rows"
    write_parquet(tmp_path / "b.parquet", {"image": [b"i"], "question": ["q"]})
    assert len(read(tmp_path)) == 1


def test_columns_that_share_a_name_only_matter_when_they_are_needed(tmp_path: Path) -> None:
    names = ["image", "question", "note", "note"]
    table = pa.Table.from_arrays([pa.array([b"i"]), pa.array(["q"]), pa.array([1]), pa.array([2])], names)
    file = write_parquet(tmp_path / "a.parquet", table)
    assert len(read(file)) == 1
    assert refused(file, keep=("note",)) == ("a.parquet: 2 columns are named 'note'; it is unclear which one is meant")


def test_columns_can_be_renamed(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"picture": [b"i"], "prompt": ["q"], "image": [1]})
    (row,) = read(file, columns={"image": "picture", "question": "prompt"})
    assert (row["image"], row["questions"]) == (b"i", ["q"])
    assert refused(file, columns={"image": "pic"}) == (
        "a.parquet: no column 'pic' (--column image=pic); the columns are: picture, prompt, image"
    )
    assert refused(file, columns={"photo": "picture"}) == (
        "a.parquet: --column photo=picture: 'photo' cannot be given here; allowed are: "
        "image, image_uri, images, question, questions, context, image_id, question_id, row_id"
    )


def test_one_column_may_have_two_parts(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"url": ["/a.jpg"], "question": ["q"]})
    (row,) = read(file, columns={"image_id": "url"})
    assert row["image_id"] == row["image_uri"] == "/a.jpg"


def test_a_named_reference_hides_the_image_column(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"thumbnail"], "link": ["/full.jpg"], "question": ["q"]})
    (row,) = read(file, columns={"image_uri": "link"})
    assert (row["image"], row["image_uri"]) == (None, "/full.jpg")


def test_every_file_must_have_the_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"image": [b"i"], "question": ["q"]})
    write_parquet(tmp_path / "b.parquet", {"image": [b"i"], "prompt": ["q"]})
    assert refused(tmp_path) == (
        "b.parquet: no column 'question', which other files have; the columns are: image, prompt"
    )


KEPT = {
    "price": pa.array([decimal.Decimal("1.50"), None]),
    "made": pa.array([1, None], pa.timestamp("ns", "UTC")),
    "labels": pa.array([["a"], None], pa.list_(pa.large_string())),
    "box": pa.array([{"x": 1}, None], pa.struct([("x", pa.int8())])),
    "kind": pa.array(["k", None]).dictionary_encode(),
    "none": pa.nulls(2),
}


def test_kept_columns_keep_their_types(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"i", b"j"], "question": ["q", "q"], **KEPT})
    source = open_at(file, keep=tuple(KEPT))
    assert {part.name: part.type for part in source.passthrough} == {
        "price": pa.decimal128(3, 2),
        "made": pa.timestamp("ns", "UTC"),
        "labels": pa.list_(pa.field("element", pa.large_string())),
        "box": pa.struct([("x", pa.int8())]),
        "kind": pa.string(),
        "none": pa.string(),
    }
    (table,) = read_shard(source, source.shards[0])
    assert table["made"].cast(pa.int64()).to_pylist() == [1, None]
    assert table["labels"].to_pylist() == [["a"], None]
    assert table["box"].to_pylist() == [{"x": 1}, None]
    assert table["kind"].to_pylist() == ["k", None]


def test_kept_values_are_cast_to_the_type_of_the_first_file(tmp_path: Path) -> None:
    common = {"image": [b"i", b"j"], "question": ["q", "q"]}
    write_parquet(tmp_path / "a.parquet", {**common, "size": pa.nulls(2)})
    write_parquet(tmp_path / "b.parquet", {**common, "size": pa.array([1, 2], pa.int8())})
    write_parquet(tmp_path / "c.parquet", {**common, "size": ["3", "huge"]})
    source = open_at(tmp_path, keep=("size",))
    rows = rows_of(source)
    assert source.passthrough == (pa.field("size", pa.int8()),)
    assert [row["size"] for row in rows] == [None, None, 1, 2, 3, None]
    assert errors(rows)[5] == ("row_malformed", "column 'size' holds 'huge' (a string); expected int8")


@pytest.mark.parametrize("name", ["answer", "tags", "status", "width", "row_id", "image"])
def test_kept_columns_may_bear_any_name(tmp_path: Path, name: str) -> None:
    columns = {"image": [b"i"], "question": ["q"], "answer": ["yes"], "tags": [["a"]], "status": ["fine"]}
    columns |= {"width": [640], "row_id": [7]}
    file = write_parquet(tmp_path / "a.parquet", columns)
    source = open_at(file, keep=(name,))
    (row,) = rows_of(source)
    assert row[source.passthrough[0].name] == columns[name][0]
    assert source.passthrough_columns()[0].name == name
    renamed = open_at(file, keep=(name,), keep_as=("mine",))
    (row,) = rows_of(renamed)
    assert row["mine"] == columns[name][0]


@pytest.mark.parametrize("given", ["=x", "x=", "="])
def test_half_a_renaming_is_refused(given: str) -> None:
    with pytest.raises(RequestError, match=r"expected NAME, or NEW=NAME"):
        parse_keep([given])


def test_renamings() -> None:
    assert parse_keep(["a", "truth=answer", "b=c=d"]) == (("a", "answer", "c=d"), ("a", "truth", "b"))
    with pytest.raises(RequestError, match=r"2 columns would be called 'a' in the output"):
        parse_keep(["a", "a=b"])


NOTED = ("struct of null", "list of null", "list of struct of null", "uuid", "list of uuid")


@pytest.mark.parametrize("case", KEPT_COLUMNS)
def test_kept_types_are_kept_as_far_as_parquet_can_hold_them(tmp_path: Path, case: str) -> None:
    column, expected = KEPT_COLUMNS[case]
    parquet.write_table(pa.table({"image": [b"i"] * len(column), "kept": column}), tmp_path / "a.parquet")
    given = parquet.read_table(tmp_path / "a.parquet")["kept"].combine_chunks()
    source = open_at(tmp_path, keep=("kept",), questions=("q",))
    assert source.passthrough[0].type == (expected or storable(given.type))
    tables = [table for shard in source.shards for table in read_shard(source, shard)]
    stored = pa.concat_tables(tables)["kept"]
    if "uuid" not in case:
        assert stored.to_pylist() == given.to_pylist()
    parquet.write_table(pa.table({"kept": stored}), tmp_path / "out")
    assert parquet.read_table(tmp_path / "out")["kept"].type == source.passthrough[0].type
    assert bool(source.notes) == (case in NOTED)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (pa.sparse_union([pa.field("a", pa.int64())]), "sparse_union"),
        (pa.list_(pa.dense_union([pa.field("a", pa.int64())])), "dense_union"),
        (pa.month_day_nano_interval(), "month_day_nano_interval"),
        (pa.struct([("a", pa.struct([]))]), "a struct without fields"),
    ],
)
def test_types_that_parquet_has_not_are_refused_by_name(given: pa.DataType, what: str) -> None:
    with pytest.raises(RequestError, match=f"column 'x' is .*, and Parquet cannot hold {what}"):
        common("x", [pa.null(), given])


def test_a_field_that_is_null_in_one_file_has_the_type_of_the_other(tmp_path: Path) -> None:
    for name, licence in (("a", None), ("b", 7)):
        write_parquet(tmp_path / f"{name}.parquet", {"image": [b"i"], "meta": [{"licence": licence}]})
    source = open_at(tmp_path, keep=("meta",), questions=("q",))
    assert source.passthrough[0].type == pa.struct([("licence", pa.int64())])
    assert [row["meta"]["licence"] for row in rows_of(source)] == [None, 7]


def test_a_kept_column_that_some_files_lack_is_null_there_and_noted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"image": [b"i"]})
    write_parquet(tmp_path / "b.parquet", {"image": [b"i", b"j"], "price": [7, 8]})
    source = open_at(tmp_path, keep=("price",), questions=("q",))
    assert source.passthrough[0].type == pa.int64()
    assert [row["price"] for row in rows_of(source)] == [None, 7, 8]
    (note,) = source.notes
    assert note == (
        "--keep price: 1 of 2 files have no such column (for example a.parquet); their rows have null there"
    )
    assert refused(tmp_path, keep=("sku",), questions=("q",)).endswith(
        "--keep sku: no such column; the columns are: image, price"
    )


def test_unknown_kept_columns_are_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"i"], "question": ["q"]})
    assert refused(file, keep=("sku",)) == "a.parquet: --keep sku: no such column; the columns are: image, question"
    assert refused(file, keep=("a", "a")) == "a.parquet: --keep a is given 2 times"


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40], pa.int64()), pa.int64()),
        (pa.array([1], pa.int64()), pa.array([0.5]), pa.float64()),
        (pa.array([0], pa.timestamp("ms")), pa.array([1], pa.timestamp("us")), pa.timestamp("us")),
        (pa.array(["1.10"]).cast(pa.decimal128(5, 2)), pa.array(["12345.678"]).cast(pa.decimal128(10, 3)), None),
        (pa.array(["a"]), pa.array([b"b"]), pa.string()),
    ],
)
def test_a_kept_column_has_a_type_that_holds_the_values_of_all_files(
    tmp_path: Path, first: pa.Array, second: pa.Array, merged: pa.DataType | None
) -> None:
    for name, values in (("a", first), ("b", second)):
        write_parquet(tmp_path / f"{name}.parquet", {"image": [b"i"], "k": values})
    source = open_at(tmp_path, keep=("k",), questions=("q",))
    assert source.passthrough[0].type == (merged or pa.decimal128(10, 3))
    rows = rows_of(source)
    assert errors(rows) == [None, None]
    assert [row["k"] for row in rows] == pa.concat_arrays(
        [each.cast(source.passthrough[0].type) for each in (first, second)]
    ).to_pylist()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([True]), pa.array([5])),
        (pa.array([0], pa.date32()), pa.array([1], pa.timestamp("us"))),
        (pa.array([0], pa.timestamp("us")), pa.array([5])),
        (pa.array([0], pa.timestamp("us")), pa.array([5], pa.timestamp("us", "UTC"))),
        (pa.array([0], pa.timestamp("us", "Europe/Paris")), pa.array([5], pa.timestamp("us"))),
        (pa.array([[0]], pa.list_(pa.timestamp("us"))), pa.array([[5]], pa.list_(pa.timestamp("us", "UTC")))),
        (pa.array([{"a": True}]), pa.array([{"a": 5}])),
        (pa.array([[True]]), pa.array([[5]])),
    ],
)
def test_kept_values_are_never_cast_to_what_they_do_not_mean(tmp_path: Path, first: pa.Array, second: pa.Array) -> None:
    for name, values in (("a", first), ("b", second)):
        write_parquet(tmp_path / f"{name}.parquet", {"image": [b"i"], "k": values})
    rows = read(tmp_path, keep=("k",), questions=("q",))
    assert [error and error[0] for error in errors(rows)] == [None, "row_malformed"]
    assert rows[1]["k"] is None


def test_an_id_in_an_unknown_time_zone_is_refused(tmp_path: Path) -> None:
    times = pa.array([0, 1], pa.timestamp("us", "Mars/Phobos"))
    write_parquet(tmp_path / "a.parquet", {"image": [b"i", b"j"], "image_id": times})
    assert refused(tmp_path, questions=("q",)) == (
        "a.parquet: column 'image_id' is timestamp[us, tz=Mars/Phobos]; wanted for image_id is a string, a number, or "
        "a time in a known zone"
    )


def test_a_kept_column_may_be_called_as_ours_are_on_the_way(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"image": [b"i"], "kept:image": [7], "x": [8]})
    source = open_at(tmp_path, keep=("kept:image", "x"), keep_as=("kept:image", "image"), questions=("q",))
    names = [part.name for part in source.passthrough]
    assert len(set(names)) == 2
    assert [schema.written_name(name) for name in names] == ["kept:image", "image"]
    (row,) = rows_of(source)
    assert [row[name] for name in names] == [7, 8]
