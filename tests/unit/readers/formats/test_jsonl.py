from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.readers.inputs import errors, open_at, read, refused, rows_of, write_jsonl
from vqa_ray.readers.formats.lines import lines_of


def line(**values: object) -> dict[str, object]:
    return {"image_uri": "i.jpg", "question": "q", **values}


def test_references_are_told_from_the_file(tmp_path: Path) -> None:
    uris = ["i.jpg", "../b/i.jpg", "/x/i.jpg", "s3://b/i.jpg", "https://h/i.jpg", "file:///f/i.jpg"]
    file = write_jsonl(tmp_path / "deep" / "a.jsonl", [line(image_uri=uri) for uri in uris])
    rows = read(file)
    assert [row["image_uri"] for row in rows] == [f"{tmp_path}/deep/i.jpg", f"{tmp_path}/b/i.jpg", *uris[2:]]
    assert [row["image_id"] for row in rows] == ["i.jpg", "../b/i.jpg", *uris[2:]]
    assert all(row["image"] is None for row in rows)


def test_identity_does_not_depend_on_where_the_input_lies(tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / place / "in" / "a.jsonl", [line()]) for place in ("x", "y/z")]
    first, second = read(files[0])[0], read(files[1])[0]
    assert first["row_id"] == second["row_id"]
    assert first["image_uri"] != second["image_uri"]
    both = read(tmp_path)
    assert both[0]["row_id"] != both[1]["row_id"]


@pytest.mark.parametrize("name", ["url", "image_path", "image_uri"])
def test_aliases(tmp_path: Path, name: str) -> None:
    (row,) = read(write_jsonl(tmp_path / "a.ndjson", [{name: "/i.jpg", "question": "q"}]))
    assert row["image_uri"] == "/i.jpg"


NO_NAME = "Expecting property name enclosed in double quotes: line 2 column 1 (char 24)"
TOO_MANY_DIGITS = (
    "Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits; "
    "use sys.set_int_max_str_digits() …"
)


def test_bad_lines_are_rows_with_their_line_number(tmp_path: Path) -> None:
    file = write_jsonl(
        tmp_path / "a.jsonl",
        [
            line(),
            b'{"image_uri": "i.jpg", \n',
            b"\n",
            b"   \r\n",
            b"[1, 2]\n",
            b'"text"\n',
            b'{"question": "\xff"}\n',
            b"[" * 100_000 + b"\n",
            b"1" * 5_000 + b"\n",
            line(image_uri=5),
            line(question=3),
            line(row_id="7"),
            line(row_id=True),
            line(row_id=2**63),
            line(image_id={"a": 1}),
            line(image_uri=None),
            line(question=None),
            {"image_uri": "i.jpg"},
            line(question=" \t"),
            b'{"image_uri": "i.jpg", "question": "\\ud83d"}\n',
            b'{"image_uri": "last.jpg", "question": "q"}',
        ],
    )
    rows = read(file)
    found = errors(rows)
    assert found[0] is found[-1] is None
    assert rows[-1]["image_id"] == "last.jpg"
    malformed = "row_malformed"
    assert [error for error in found if error] == [
        (malformed, f"a.jsonl line 2: not JSON: {NO_NAME}"),
        (malformed, "a.jsonl line 5: not a JSON object but an array"),
        (malformed, "a.jsonl line 6: not a JSON object but a string"),
        (malformed, "a.jsonl line 7: not UTF-8 (byte 15); another encoding is given with --encoding, as cp1252"),
        (malformed, "a.jsonl line 8: not JSON: nested too deeply"),
        (malformed, f"a.jsonl line 9: not JSON: {TOO_MANY_DIGITS}"),
        (malformed, "a.jsonl line 10: column 'image_uri' holds 5 (an integer); expected a string"),
        (malformed, "a.jsonl line 11: column 'question' holds 3 (an integer); expected a string"),
        (malformed, "a.jsonl line 12: column 'row_id' holds '7' (a string); expected an int64"),
        (malformed, "a.jsonl line 13: column 'row_id' holds True (a boolean); expected an int64"),
        (malformed, "a.jsonl line 14: column 'row_id' holds 9223372036854775808 (an integer); expected an int64"),
        (malformed, "a.jsonl line 15: column 'image_id' holds {'a': 1} (an object); expected a string or a number"),
        ("image_missing", "a.jsonl line 16: the row has no image and no image URI"),
        ("question_missing", "a.jsonl line 17: question in column 'question' is null"),
        ("question_missing", "a.jsonl line 18: question in column 'question' is null"),
        ("question_missing", "a.jsonl line 19: question in column 'question' is blank"),
        (malformed, "a.jsonl line 20: column 'question' holds text that is not Unicode; expected valid text"),
    ]  # fmt: skip
    assert len(rows) == 19
    broken = {row["row_id"] for row in rows if row["error_code"] == "row_malformed"}
    assert len(broken) == 13
    moved = read(write_jsonl(tmp_path / "b" / "c.jsonl", [line(), b'{"image_uri": "i.jpg", \n']))
    assert moved[1]["row_id"] in broken


def test_questions_may_be_long_and_in_any_script(tmp_path: Path) -> None:
    questions = ["\U0001f415\u200d\U0001f9ba here?", "هل يوجد كلب؟", "x" * 10_000, "\u200fmixed\u200e"]
    rows = read(write_jsonl(tmp_path / "a.jsonl", [line(question=question) for question in questions]))
    assert [row["questions"] for row in rows] == [[question] for question in questions]


def test_several_questions(tmp_path: Path) -> None:
    lists = [["a", "b"], [], None, ["a", None], ["a", " "], "a", ["a", 1]]
    source = open_at(write_jsonl(tmp_path / "a.jsonl", [{"image_uri": "i", "questions": one} for one in lists]))
    assert source.multi_question
    assert errors(rows_of(source)) == [
        None,
        ("question_missing", "a.jsonl line 2: question in column 'questions' is empty"),
        ("question_missing", "a.jsonl line 3: question in column 'questions' is null"),
        ("question_missing", "a.jsonl line 4: question 2 of 2 in column 'questions' is blank"),
        ("question_missing", "a.jsonl line 5: question 2 of 2 in column 'questions' is blank"),
        ("row_malformed", "a.jsonl line 6: column 'questions' holds 'a' (a string); expected a list of strings"),
        ("row_malformed", "a.jsonl line 7: column 'questions' holds ['a', 1] (a list); expected a list of strings"),
    ]


def test_questions_of_the_request_win(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [line(), {"image_uri": "j.jpg"}])
    one, two = open_at(file, questions=("what? ",)), open_at(file, questions=("what?", "who?"))
    assert (one.multi_question, two.multi_question) == (False, True)
    assert [row["questions"] for row in rows_of(one)] == [["what?"]] * 2
    assert [row["questions"] for row in rows_of(two)] == [["what?", "who?"]] * 2
    assert refused(file, questions=("what?", " ")) == "--question is blank; give the text of a question"


def test_a_job_that_needs_no_question_gets_none(tmp_path: Path) -> None:
    source = open_at(write_jsonl(tmp_path / "a.jsonl", [line(question=3)]), needs_question=False)
    assert not source.multi_question
    assert errors(rows_of(source)) == [None]
    assert rows_of(source)[0]["questions"] == []


def test_kept_types_are_those_of_the_first_thousand_lines(tmp_path: Path) -> None:
    first = [line(i=1, f=1, b=True, s="é", j=[1], m=1, n=None, big=2**63)] * 500
    second = [line(i=2, f=2.5, b=False, s="t", j={"k": "é"}, m="x", n=None, big=1)] * 500
    later = [line(i="3"), line(b=0), line(f="x"), line(s=5, n={}, m=True)]
    names = ("i", "f", "b", "s", "j", "m", "n", "big")
    source = open_at(write_jsonl(tmp_path / "a.jsonl", [*first, *second, *later]), keep=names)
    assert [str(part.type) for part in source.passthrough] == ["int64", "double", "bool", *["string"] * 5]
    rows = rows_of(source)
    assert {name: rows[0][name] for name in names} == {
        "i": 1, "f": 1.0, "b": True, "s": "é", "j": "[1]", "m": "1", "n": None, "big": str(2**63),
    }  # fmt: skip
    assert (rows[999]["j"], rows[999]["m"]) == ('{"k": "é"}', "x")
    assert errors(rows)[1_000:] == [
        ("row_malformed", "a.jsonl line 1001: column 'i' holds '3' (a string); expected int64"),
        ("row_malformed", "a.jsonl line 1002: column 'b' holds 0 (an integer); expected bool"),
        ("row_malformed", "a.jsonl line 1003: column 'f' holds 'x' (a string); expected double"),
        None,
    ]
    assert (rows[-1]["s"], rows[-1]["n"], rows[-1]["m"]) == ("5", "{}", "true")
    assert rows[-1]["i"] is None


def test_missing_columns_are_refused(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"picture": "i.jpg", "text": "q"}])
    assert refused(file, columns={"question": "text"}) == (
        f"{file}: no column 'image_uri'; the columns are: picture, text; name it with --column image_uri=NAME"
    )
    assert refused(file, columns={"image": "picture"}) == (
        f"{file}: --column image=picture: 'image' cannot be given here; allowed are: "
        "image_uri, images, question, questions, context, image_id, question_id, row_id"
    )
    (row,) = read(file, columns={"image_uri": "picture", "question": "text"})
    assert row["image_id"] == "i.jpg"
    assert refused(write_jsonl(tmp_path / "b.jsonl", [b"\n \n"])).endswith("b.jsonl: the input is empty: no lines")
    assert refused(write_jsonl(tmp_path / "c.jsonl", [b"[\n"])).endswith(
        "c.jsonl: none of the first lines is a JSON object; is this really JSON lines?"
    )


def test_gzip_byte_order_marks_and_damage(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + b"".join(json.dumps(line(image_uri=f"{i}.jpg")).encode() + b"\n" for i in range(4_000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    rows = read(tmp_path / "a.jsonl.gz")
    assert errors(rows) == [None] * 4_000
    data = gzip.compress(text)
    (tmp_path / "a.jsonl.gz").write_bytes(data[: len(data) // 2])
    rows = read(tmp_path / "a.jsonl.gz")
    assert rows[-1]["error_message"] == (
        f"shard a.jsonl.gz cannot be read past row {len(rows) - 1}: "
        "Compressed file ended before the end-of-stream marker was reached"
    )


def test_a_line_can_not_fill_the_memory() -> None:
    found = list(lines_of(io.BytesIO(b"12345\n" + b"x" * 100 + b"\nabc"), max_bytes=10))
    assert [(one.number, one.data, one.is_too_long) for one in found] == [
        (1, b"12345\n", False),
        (2, b"x" * 11, True),
        (3, b"abc", False),
    ]


def test_large_files_come_in_small_tables(tmp_path: Path) -> None:
    source = open_at(write_jsonl(tmp_path / "a.jsonl", [line(image_uri=f"{i}") for i in range(1_000)]))
    assert len(rows_of(source)) == 1_000
    assert source.total_rows is None
    assert source.passthrough == ()
    assert isinstance(source.shards[0].size_bytes, int)
    assert pa.schema(source.passthrough) == pa.schema([])


def test_integers_that_float64_would_change_stay_text(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"url": "a", "k": 1.5}, {"url": "b", "k": 2**53 + 1}])
    assert [row["k"] for row in read(file, keep=("k",), questions=("q",))] == ["1.5", "9007199254740993"]


def test_a_later_integer_that_float64_would_change_is_an_error_of_its_row(tmp_path: Path) -> None:
    lines = [{"url": "a", "k": 1.5}] * 1000 + [{"url": "a", "k": 2**53 + 1}, {"url": "a", "k": 2**53}]
    found = read(write_jsonl(tmp_path / "a.jsonl", lines), keep=("k",), questions=("q",))
    assert errors(found)[1000] == (
        "row_malformed",
        "a.jsonl line 1001: column 'k' holds 9007199254740993 (an integer); expected double",
    )
    assert found[1001]["k"] == 2**53


def test_a_weight_that_float64_would_change_is_an_error_of_its_row(tmp_path: Path) -> None:
    weights = [[1, 0.5], [2**53 + 1], [10**400]]
    lines = [{"url": "a", "answer": {"ids": ["x"] * len(each), "weights": each}} for each in weights]
    found = read(write_jsonl(tmp_path / "a.jsonl", lines), labels=("answer",), questions=("q",))
    assert [error and error[0] for error in errors(found)] == [None, "row_malformed", "row_malformed"]


def test_a_number_beyond_float64_stays_text(tmp_path: Path) -> None:
    lines = [b'{"url": "a", "k": 1e999, "deep": [1e999, 0.5]}\n', b'{"url": "b", "k": 0.5, "deep": [NaN]}\n']
    rows = read(write_jsonl(tmp_path / "a.jsonl", lines), keep=("k", "deep"), questions=("q",))
    assert [(row["k"], row["deep"]) for row in rows] == [("1e999", '["1e999", 0.5]'), ("0.5", "[NaN]")]


def test_a_later_number_beyond_float64_is_an_error_of_its_row(tmp_path: Path) -> None:
    lines = [{"url": "a", "k": 0.5}] * 1000 + [b'{"url": "a", "k": -1e999}\n', {"url": "a", "k": float("inf")}]
    rows = read(write_jsonl(tmp_path / "a.jsonl", lines), keep=("k",), questions=("q",))
    assert errors(rows)[1000] == (
        "row_malformed",
        "a.jsonl line 1001: column 'k' holds '-1e999' (a string); expected double",
    )
    assert rows[1001]["k"] == float("inf")


def test_each_row_names_its_image_in_its_own_way(tmp_path: Path) -> None:
    lines = [{"image": "/a.jpg"}, {"url": "/b.jpg"}, {"image": "/x.jpg", "image_path": "/c.jpg"}, {"url": None}]
    rows = read(write_jsonl(tmp_path / "a.jsonl", lines), questions=("q",))
    assert [row["image_uri"] for row in rows] == ["/a.jpg", "/b.jpg", "/c.jpg", None]
    assert rows[3]["error_code"] == "image_missing"
