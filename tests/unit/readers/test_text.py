"""Text as people write it: byte order marks, encodings, delimiters, line ends, JSON that is no JSON lines."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.helpers.pictures import encoded, photo
from tests.unit.readers.inputs import errors, read, refused, write_tar
from vqa_ray.calibration.samples import Labels
from vqa_ray.errors import RequestError
from vqa_ray.readers.formats.csv import records_of
from vqa_ray.readers.formats.json_lines import json_lines
from vqa_ray.taxonomy.file import load_taxonomy
from vqa_ray.text_encoding import check_encoding, decode_text, text_lines
from vqa_ray.training.data.vocabulary import read_vocabulary

MARKED = {
    "utf-8": b"",
    "utf-8 with a mark": codecs.BOM_UTF8,
    "utf-16-le": b"",
    "utf-16-be": b"",
    "utf-16-le with a mark": codecs.BOM_UTF16_LE,
    "utf-16-be with a mark": codecs.BOM_UTF16_BE,
    "utf-32-le with a mark": codecs.BOM_UTF32_LE,
}


def written(text: str, form: str) -> bytes:
    return MARKED[form] + text.encode(form.partition(" ")[0])


@pytest.mark.parametrize("form", MARKED)
def test_marks_and_encodings_are_told_from_the_first_bytes(tmp_path: Path, form: str) -> None:
    line = json.dumps({"image_uri": "a.jpg", "question": "où?"}, ensure_ascii=False) + "\r\n"
    (tmp_path / "a.jsonl").write_bytes(written(line * 3, form))
    (tmp_path / "a.csv").write_bytes(written("image_uri,question\r\na.jpg,où?\r\n", form))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(written("image_uri;question\na.jpg;où?\n", form)))
    (tmp_path / "a.json").write_bytes(written(json.dumps([json.loads(line)], ensure_ascii=False, indent=1), form))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in {
            "1.jpg": b"x",
            "1.json": written('{"question": "où?"}', form),
            "2.jpg": b"y",
            "2.txt": written("où?\r\n", form),
        }.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    for name, rows in {"a.jsonl": 3, "a.csv": 1, "b.csv.gz": 1, "a.json": 1, "a.tar": 2}.items():
        found = read(tmp_path / name)
        assert [row["questions"] for row in found] == [["où?"]] * rows, name
        assert errors(found) == [None] * rows
    assert decode_text(written("attributes: où", form)) == "attributes: où"


@pytest.mark.parametrize("form", ["utf-8 with a mark", "utf-16-le with a mark"])
def test_vqa_v2_and_taxonomies_with_marks(tmp_path: Path, form: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "000000000007.jpg").write_bytes(b"x")
    questions = {"questions": [{"image_id": 7, "question_id": 1, "question": "où?"}]}
    (tmp_path / "questions.json").write_bytes(written(json.dumps(questions, ensure_ascii=False), form))
    for uri in (tmp_path / "questions.json", tmp_path):
        (row,) = read(uri)
        assert (row["questions"], row["image_id"]) == (["où?"], "7")
    text = "attributes:\n- {name: a, question: où, choices: [b, c]}\n"
    (tmp_path / "tags.yaml").write_bytes(written(text, form))
    assert load_taxonomy(str(tmp_path / "tags.yaml")).attributes[0].question == "où"


def test_other_encodings_are_told_and_read_when_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("image_uri,question\na.jpg,où?\nb.jpg,what?\n".encode("cp1252"))
    (tmp_path / "a.jsonl").write_bytes('{"image_uri": "a.jpg", "question": "où?"}\n'.encode("cp1252"))
    bad, good = read(tmp_path / "a.csv")
    assert "not UTF-8; another encoding is given with --encoding" in bad["error_message"]
    assert good["status"] == "ok"
    for name in ("a.csv", "a.jsonl"):
        assert read(tmp_path / name, encoding="cp1252")[0]["questions"] == ["où?"]
    assert "--encoding 'klingon' is unknown" in refused(tmp_path / "a.csv", encoding="klingon")
    with pytest.raises(RequestError):
        check_encoding("hex")


def test_bytes_that_an_encoding_lacks_cost_their_line_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"image_uri,question\na.jpg,\x81\nb.jpg,what?\n")
    rows = read(tmp_path / "a.csv", encoding="cp1252")
    assert [row["status"] for row in rows] == ["error", "ok"]
    wide = "image_uri,question\na.jpg,\ud800\nb.jpg,what?\n".encode("utf-16-le", "surrogatepass")
    (tmp_path / "a.csv").write_bytes(wide)
    assert [row["status"] for row in read(tmp_path / "a.csv")] == ["error", "ok"]


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ","), ("a.csv", "|")])
def test_delimiters_are_told_from_the_header(tmp_path: Path, name: str, delimiter: str) -> None:
    lines = [delimiter.join(cells) for cells in (("image_uri", "question"), ("a.jpg", "is it red, blue; or green?"))]
    quoted = lines[1] if delimiter not in ",;" else f'a.jpg{delimiter}"is it red, blue; or green?"'
    (tmp_path / name).write_text(f"{lines[0]}\n{quoted}\n")
    assert read(tmp_path / name)[0]["questions"] == ["is it red, blue; or green?"]


def test_the_usual_delimiter_wins_where_both_would_do() -> None:
    for header in (b"image_uri,question,a|b|c|d\n", b"x,y;z\n", b"only\n"):
        (record,) = records_of(io.BytesIO(header), ",")
        assert record.cells == tuple(header.decode().strip().split(","))


def test_line_ends_and_long_fields(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    text = f'image_uri,question,note\ra.jpg,what?,{long}\rb.jpg,"in two\rlines?",n\r'
    (tmp_path / "a.csv").write_text(text, newline="")
    rows = read(tmp_path / "a.csv", keep=("note",))
    assert [row["questions"] for row in rows] == [["what?"], ["in two\nlines?"]]
    assert rows[0]["note"] == long
    (tmp_path / "b.csv").write_text(text.replace("\r", "\r\n"), newline="")
    assert read(tmp_path / "b.csv")[1]["questions"] == ["in two\r\nlines?"]


ROWS = [{"image_uri": "a.jpg", "question": "q"}, {"image_uri": "b.jpg", "question": "r"}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        json.dumps({"version": 1, "data": ROWS}),
        json.dumps({"info": {"by": "me"}, "licences": [], "annotations": ROWS}, indent=1),
        "\n\n" + json.dumps(ROWS, indent=None, separators=(",\n", ":")),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_one_document_is_read_as_rows(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text)
    rows = read(tmp_path / name)
    assert [row["questions"] for row in rows] == [["q"], ["r"]]
    assert [row["image_id"] for row in rows] == ["a.jpg", "b.jpg"]


def test_json_lines_stay_lines() -> None:
    for text in (
        '{"a": 1}\n{"a": 2}\n',
        '{"image": "a.jpg", "turns": [{"x": 1}]}\n',
        "[1, 2]\n[3]\n",
        '{"a": 1\n{"a": 2}\n',
        '{"a": {\n}\nnonsense\n',
        "[\nnonsense\n]\n",
    ):
        lines = [line.data.decode() for line in json_lines(io.BytesIO(text.encode()))]
        assert lines == text.splitlines(keepends=True)


def test_odd_json_is_an_error_of_its_row(tmp_path: Path) -> None:
    lines = [
        '{"image_uri": "a.jpg", "question": "q", "question": "r"}',
        '{"image_uri": "a.jpg", "question": "q"} // comment',
        '{"image_uri": "a.jpg", "question": "q", "image_id": NaN}',
        '{"image_uri": "a.jpg", "question": "q", "image_id": -Infinity}',
        '{"image_uri": "a.jpg", "question": "q", "row_id": NaN}',
        '{"image_uri": "a.jpg", "question": NaN}',
        '{"image_uri": {"a": 1}, "question": "q"}',
        '{"image_uri": "a.jpg", "question": {"text": "q"}}',
        '{"image_uri": "a.jpg", "question": "\\ud800"}',
        '{"image_uri": "a\\u0000.jpg", "question": "q"}',
        '{"image_uri": "a.jpg", "question": "q"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    rows = read(tmp_path / "a.jsonl")
    assert [row["error_code"] for row in rows] == ["row_malformed"] * 9 + [None] * 2
    assert "key 'question' occurs twice" in rows[0]["error_message"]


CAFE = "un café?"


def test_the_encoding_reaches_sidecars_labels_taxonomies_and_vocabularies(tmp_path: Path) -> None:
    image = encoded(photo(16, 12), "PNG")
    members = [
        ("1.png", image),
        ("1.txt", CAFE.encode("cp1252")),
        ("2.png", image),
        ("2.txt", CAFE.encode()),
        ("3.png", image),
        ("3.json", json.dumps({"question": CAFE, "image_id": 1.10}, ensure_ascii=False).encode("cp1252")),
    ]
    file = write_tar(tmp_path / "a.tar", members)
    rows = read(file, encoding="cp1252")
    assert [row["questions"] for row in rows] == [[CAFE]] * 3
    assert [row["error_code"] for row in read(file)] == ["row_malformed", None, "row_malformed"]

    labels = tmp_path / "labels.csv"
    labels.write_bytes("image_id,couleur\n1,café\n".encode("cp1252"))
    assert Labels.read(str(labels), "cp1252").of("1", "couleur") == "café"

    text = "attributes:\n  - name: boisson\n    question: un café?\n    choices: [café, thé]\n"
    tags = tmp_path / "tags.yaml"
    for encoding in ("cp1252", "utf-8", "utf-16"):
        tags.write_bytes(text.encode(encoding))
        assert load_taxonomy(str(tags), "cp1252").attributes[0].choices.keys() == {"café", "thé"}
    tags.write_bytes(text.encode("cp1252"))
    with pytest.raises(RequestError, match=r"byte 50 is not; give another encoding with --encoding, as cp1252"):
        load_taxonomy(str(tags))

    words = tmp_path / "words.txt"
    words.write_bytes("café\nthé\n".encode("cp1252"))
    assert read_vocabulary(str(words), "cp1252").labels == ("café", "thé")
    with pytest.raises(RequestError, match=r"is not UTF-8 .* --encoding"):
        read_vocabulary(str(words))


def test_every_form_of_unicode_is_told_without_a_mark(tmp_path: Path) -> None:
    for form in ("utf-32-le", "utf-32-be"):
        (tmp_path / f"{form}.jsonl").write_bytes('{"image": "a.jpg", "question": "q"}\n'.encode(form))
    assert [row["questions"] for row in read(tmp_path)] == [["q"], ["q"]]


@pytest.mark.parametrize(
    ("encoding", "form"), [("utf-16", "utf-16-le"), ("UTF_16", "utf-16-be"), ("utf-32", "utf-32-le")]
)
def test_a_named_encoding_may_lack_its_mark(tmp_path: Path, encoding: str, form: str) -> None:
    (tmp_path / "a.csv").write_bytes("image_uri,question\na.jpg,é?\n".encode(form))
    assert read(tmp_path, encoding=encoding)[0]["questions"] == ["é?"]


def test_files_put_together_bring_several_marks(tmp_path: Path) -> None:
    line = codecs.BOM_UTF8 + b'{"image": "a.jpg", "question": "q"}\n'
    (tmp_path / "a.jsonl").write_bytes(line * 2)
    assert errors(read(tmp_path)) == [None, None]


def test_the_half_of_a_line_end_is_no_line_end(tmp_path: Path) -> None:
    header = "image_uri,question,"
    header += "c" * (4095 - len(header))
    (tmp_path / "a.csv").write_bytes(f'{header}\r\na.jpg,"two\r\nlines",x\r\n'.encode())
    assert read(tmp_path)[0]["questions"] == ["two\r\nlines"]


def test_what_stands_before_the_damage_of_a_small_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"image_uri,question\na.jpg,q\n") + b"junk")
    rows = read(tmp_path)
    assert rows[0]["questions"] == ["q"]
    assert errors(rows)[1] == (
        "row_malformed",
        "shard a.csv.gz cannot be read past row 1: Not a gzipped file (b'ju')",
    )


def test_a_header_that_cannot_be_decoded_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"image_uri,question\na.jpg,q\n")[:12])
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}/a.csv.gz: the header, line 1, cannot be read: Compressed file ended before")


@pytest.mark.parametrize("inside", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_lines_end_at_line_ends_alone(inside: str) -> None:
    assert text_lines(f"a{inside}b\r\nc\rd\n") == [f"a{inside}b", "c", "d"]
