from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.readers.inputs import errors, open_at, read, refused, rows_of, write_csv
from vqa_ray.readers.formats.csv import records_of

HEAD = b"image_uri,question,n\n"


def test_cells_become_columns(tmp_path: Path) -> None:
    rows = [["a.jpg", 'q, r\n"s"', 7, 1, "1.5", "x"], ["", "", "", "", "", ""], ["b.jpg", "q", "", "", "2e3", "y"]]
    file = write_csv(tmp_path / "a.csv", ["image_uri", "question", "image_id", "row_id", "f", "s"], rows)
    source = open_at(file, keep=("f", "s"))
    first, second, third = rows_of(source)
    assert (first["image_uri"], first["questions"]) == (f"{tmp_path}/a.jpg", ['q, r\n"s"'])
    assert (first["image_id"], first["row_id"], first["f"], first["s"]) == ("7", 1, 1.5, "x")
    assert errors([second]) == [("image_missing", "a.csv line 4: the row has no image and no image URI")]
    assert (second["f"], second["s"]) == (None, None)
    assert (third["image_id"], third["f"]) == ("b.jpg", 2000.0)


def test_tab_separated_gzip_and_byte_order_mark(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.tsv", ["image_uri", "question"], [["a,b.jpg", "q"]], delimiter="\t")
    assert read(file)[0]["image_id"] == "a,b.jpg"
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + file.read_bytes()))
    assert read(tmp_path / "b.tsv.gz")[0]["image_id"] == "a,b.jpg"


def test_bad_lines_are_rows_with_their_line_number(tmp_path: Path) -> None:
    body = [
        b"1.jpg,q,1",
        b"2.jpg,q",
        b"",
        b"3.jpg,q,1,2",
        b'4.jpg,"q" r,1',
        b"5.jpg,\xff,1",
        b'6.jpg,"no end,1',
        b'7.jpg,"two',
        b'lines",1',
        b'8.jpg,"also no end,1',
        b"9.jpg,q,1",
    ]
    (tmp_path / "a.csv").write_bytes(HEAD + b"\r\n".join(body))
    rows = read(tmp_path / "a.csv")
    assert [row["image_id"] for row in rows if row["status"] == "ok"] == ["1.jpg", "7.jpg", "9.jpg"]
    assert [error for error in errors(rows) if error] == [
        ("row_malformed", "a.csv line 3: 2 fields where the header has 3"),
        ("row_malformed", "a.csv line 5: 4 fields where the header has 3"),
        ("row_malformed", "a.csv line 6: not CSV: ',' expected after '\"'"),
        ("row_malformed", "a.csv line 7: not UTF-8; another encoding is given with --encoding, as cp1252"),
        ("row_malformed", "a.csv line 8: not CSV: ',' expected after '\"'"),
        ("row_malformed", "a.csv line 11: not CSV: unexpected end of data"),
    ]


def test_a_record_over_two_lines_in_another_encoding_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEAD + b'1.jpg,"caf\xe9\nnoir",1\r\n2.jpg,q,1')
    rows = read(tmp_path / "a.csv")
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert "line 2: not UTF-8" in rows[0]["error_message"]


def test_values_of_the_wrong_type_are_malformed(tmp_path: Path) -> None:
    file = write_csv(
        tmp_path / "a.csv", ["url", "question", "row_id"], [["a", "q", "x1"], ["a", "q", 2**63], ["a", "q", -5]]
    )
    rows = read(file)
    assert errors(rows) == [
        ("row_malformed", "a.csv line 2: column 'row_id' holds 'x1' (a string); expected an int64"),
        ("row_malformed", "a.csv line 3: column 'row_id' holds '9223372036854775808' (a string); expected an int64"),
        None,
    ]
    assert rows[2]["row_id"] == -5


def test_a_questions_column_holds_json(tmp_path: Path) -> None:
    source = open_at(write_csv(tmp_path / "a.csv", ["url", "questions"], [["a", '["q", "r"]'], ["a", "q"], ["a", ""]]))
    assert source.multi_question
    rows = rows_of(source)
    assert rows[0]["questions"] == ["q", "r"]
    assert errors(rows)[1:] == [
        ("row_malformed", "a.csv line 3: column 'questions' holds 'q' (a string); expected a list of strings"),
        ("question_missing", "a.csv line 4: question in column 'questions' is null"),
    ]


def test_kept_types(tmp_path: Path) -> None:
    rows = [["a", "q", "7", "007", "1", ""], ["a", "q", "-8", "8", ".5", ""]] * 500 + [
        ["a", "q", "1.5", "9", "nan", ""]
    ]
    source = open_at(
        write_csv(tmp_path / "a.csv", ["url", "question", "i", "code", "f", "e"], rows), keep=("i", "code", "f", "e")
    )
    assert [str(part.type) for part in source.passthrough] == ["int64", "string", "double", "string"]
    read_rows = rows_of(source)
    assert [(row["i"], row["code"], row["f"], row["e"]) for row in read_rows[:2]] == [
        (7, "007", 1.0, None),
        (-8, "8", 0.5, None),
    ]
    assert errors(read_rows)[-1] == (
        "row_malformed",
        "a.csv line 1002: column 'i' holds '1.5' (a string); expected int64",
    )


def test_headers_are_checked(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["url", "question", "note", "note"], [["a", "q", 1, 2]])
    assert len(read(tmp_path)) == 1
    assert refused(tmp_path, keep=("note",)) == "a.csv: 2 columns are named 'note'; it is unclear which one is meant"
    write_csv(tmp_path / "b.csv", ["question", "url", "more"], [["q", "b", 3]])
    assert [row["image_id"] for row in read(tmp_path)] == ["a", "b"]
    write_csv(tmp_path / "c.csv", ["image_uri", "question"], [["a", "q"]])
    assert refused(tmp_path) == "c.csv: has other columns than a.csv: image_uri, question"
    (tmp_path / "c.csv").write_bytes(b'"broken\n')
    assert refused(tmp_path) == f"{tmp_path}/c.csv: the header, line 1, cannot be read: not CSV: unexpected end of data"


def test_empty_inputs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    assert refused(tmp_path / "a.csv") == f"{tmp_path}/a.csv: the input is empty: no lines"
    (tmp_path / "a.csv").write_bytes(HEAD + b"\n\n")
    assert refused(tmp_path / "a.csv") == f"{tmp_path}/a.csv: the input is empty: no records after the header"


def test_a_stray_quote_before_many_lines(tmp_path: Path) -> None:
    lines = b"".join(b"%d.jpg,q,1\n" % i for i in range(20_000))
    (tmp_path / "a.csv").write_bytes(HEAD + b'x.jpg,"q,1\n' + lines)
    rows = read(tmp_path / "a.csv")
    assert len(rows) == 20_001
    assert errors(rows)[0] == ("row_malformed", "a.csv line 2: not CSV: unexpected end of data")
    assert errors(rows)[1:] == [None] * 20_000


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=8))
def test_what_csv_writes_is_read_back(rows: list[list[str]]) -> None:
    import csv

    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    records = list(records_of(io.BytesIO(text.getvalue().encode()), ","))
    assert [list(record.cells or ()) for record in records] == [["a", "b", "c"], *rows]
    assert b"".join(record.data for record in records) == text.getvalue().encode()


@pytest.mark.parametrize(
    "cells",
    [
        ["18446744073709551615", "5"],
        ["9007199254740993", "0.5"],
        ["0.5", "-9007199254740993"],
        ["1e999", "0.5"],
    ],
)
def test_numbers_that_float64_would_change_stay_text(tmp_path: Path, cells: list[str]) -> None:
    file = write_csv(tmp_path / "a.csv", ["url", "k"], [["a", cell] for cell in cells])
    assert [row["k"] for row in read(file, keep=("k",), questions=("q",))] == cells


def test_a_later_number_that_float64_would_change_is_an_error(tmp_path: Path) -> None:
    rows = [["a", "0.5"]] * 1000 + [["a", "9007199254740993"], ["a", "9007199254740992"]]
    found = read(write_csv(tmp_path / "a.csv", ["url", "k"], rows), keep=("k",), questions=("q",))
    assert errors(found)[1000] == (
        "row_malformed",
        "a.csv line 1002: column 'k' holds '9007199254740993' (a string); expected double",
    )
    assert found[1001]["k"] == 9007199254740992


def test_each_row_names_its_image_in_its_own_way(tmp_path: Path) -> None:
    rows = [["/a.jpg", ""], ["", "/b.jpg"], ["/x.jpg", "/c.jpg"], ["", ""]]
    found = read(write_csv(tmp_path / "a.csv", ["image", "url"], rows), questions=("q",))
    assert [row["image_uri"] for row in found] == ["/a.jpg", "/b.jpg", "/c.jpg", None]
