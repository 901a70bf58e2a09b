from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from tests.helpers.documents import ENCRYPTION, LETTER, coloured, pdf
from tests.unit.readers.inputs import open_at, read, refused, rows_of, write_csv
from vqa_ray.images import page_renderer
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.page_refs import PageRange
from vqa_ray.readers import read_shard
from vqa_ray.readers.formats import pdf as pdf_format
from vqa_ray.storage.atomic import write_bytes_atomic

pytest.importorskip("pypdfium2")


def folder(root: Path, **documents: bytes) -> Path:
    for name, data in documents.items():
        path = root / f"{name.replace('__', '/')}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_every_page_is_a_row(tmp_path: Path) -> None:
    folder(tmp_path, a=coloured(2), split_b__c=coloured(1))
    source = open_at(tmp_path, questions=("what?",))
    assert (source.format, source.total_rows) == ("pdf", None)
    rows = rows_of(source)
    assert [row["image_id"] for row in rows] == ["a.pdf#page=1", "a.pdf#page=2", "split_b/c.pdf#page=1"]
    assert [row["image_uri"] for row in rows] == [f"{tmp_path}/{row['image_id']}" for row in rows]
    assert len({row["row_id"] for row in rows}) == 3
    assert all(row["questions"] == ["what?"] and row["image"] is None and row["status"] == "ok" for row in rows)


def test_pages_are_known_by_what_they_are(tmp_path: Path) -> None:
    one = read(folder(tmp_path / "one", a=coloured(3)), questions=("q",))
    two = read(folder(tmp_path / "two", a=coloured(3)), questions=("q",), pages=PageRange.parse("2-"))
    assert [row["row_id"] for row in two] == [row["row_id"] for row in one[1:]]


def test_some_pages(tmp_path: Path) -> None:
    document = folder(tmp_path, a=coloured(9)) / "a.pdf"

    def pages(uri: object, **options: object) -> list[str]:
        return [row["image_id"].partition("=")[2] for row in read(str(uri), needs_question=False, **options)]

    assert pages(document, pages=PageRange.parse("7-,2,1-2")) == ["1", "2", "7", "8", "9"]
    assert pages(f"{document}#page=4") == ["4"]
    assert refused(f"{document}#top", needs_question=False) == f"{document}#top: #top names no page; wanted #page=3"
    (row,) = read(tmp_path, needs_question=False, pages=PageRange.parse("20-30"))
    assert row["error_code"] == "image_missing"
    assert row["error_message"] == "a.pdf: the document has 9 pages; --pages 20-30 names none of them"


def test_documents_that_cannot_be_read_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = pdf([(*LETTER, (0, 0, 0))], trailer=ENCRYPTION)
    folder(tmp_path, a=b"%PDF-1.4 nothing", b=locked, c=pdf([]), d=coloured(1), e=b"", f=coloured(4))
    monkeypatch.setattr(pdf_format, "MAX_PAGES", 3)
    source = open_at(tmp_path, needs_question=False)
    rows = {row["image_id"]: row for row in rows_of(source)}
    assert {name: row["error_code"] for name, row in rows.items()} == {
        "a.pdf": "image_undecodable",
        "b.pdf": "image_unsupported",
        "c.pdf": "image_missing",
        "d.pdf#page=1": None,
        "e.pdf": "image_undecodable",
        "f.pdf": "image_too_large",
    }
    assert rows["b.pdf"]["error_message"] == "b.pdf: PDF: is encrypted, and opens with a password alone"
    assert rows["f.pdf"]["error_message"] == "f.pdf: 4 pages; at most 3 are read, see --pages"
    (tmp_path / "d.pdf").unlink()
    (gone,) = (table for table in read_shard(source, source.shards[3]))
    assert gone["error_code"].to_pylist() == ["image_missing"]


def test_ten_thousand_pages(tmp_path: Path) -> None:
    folder(tmp_path, a=coloured(10_000))
    source = open_at(tmp_path, needs_question=False)
    tables = list(read_shard(source, source.shards[0]))
    assert sum(table.num_rows for table in tables) == 10_000
    (table,) = read_shard(source, source.shards[0], {9_999})
    assert table["image_id"].to_pylist() == ["a.pdf#page=10000"]


def test_columns_of_the_path(tmp_path: Path) -> None:
    folder(tmp_path, invoices__a=coloured(1), test__b=coloured(1))
    rows = read(tmp_path, needs_question=False, keep=("label", "split"))
    assert [(row["label"], row["split"]) for row in rows] == [("invoices", None), ("test", "test")]


def test_documents_beside_other_files_are_no_input(tmp_path: Path) -> None:
    folder(tmp_path, manual=coloured(1))
    (tmp_path / "a.jpg").write_bytes(b"x")
    source = open_at(tmp_path, needs_question=False)
    assert source.format == "images"
    assert source.notes == ("1 file was left out: 1 × .pdf (for example manual.pdf)",)
    assert [row["image_id"] for row in read(tmp_path, needs_question=False, format="pdf")] == ["manual.pdf#page=1"]


def test_a_table_names_pages(tmp_path: Path) -> None:
    folder(tmp_path, docs__a=coloured(2))
    write_csv(tmp_path / "t.csv", ["image_uri", "question"], [["docs/a.pdf#page=2", "q"]])
    source = open_at(tmp_path)
    assert (source.format, source.notes) == ("csv", ())
    (row,) = rows_of(source)
    assert (row["image_id"], row["image_uri"]) == ("docs/a.pdf#page=2", f"{tmp_path}/docs/a.pdf#page=2")


def test_documents_in_a_bucket(s3_session: str) -> None:
    for name, pages in (("a", 2), ("b/c", 1)):
        write_bytes_atomic(f"{s3_session}/documents/{name}.pdf", coloured(pages))
    uris = [row["image_uri"] for row in read(f"{s3_session}/documents", needs_question=False)]
    assert uris == [f"{s3_session}/documents/{page}" for page in ("a.pdf#page=1", "a.pdf#page=2", "b/c.pdf#page=1")]
    fetched = ImageFetcher(2**20).fetch_all(uris)
    assert all(isinstance(fetched[uri], bytes) for uri in uris)


def test_documents_inside_an_archive_are_rows_in_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in (("x.pdf", coloured(2)), ("x.txt", b"q")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (row,) = read(tmp_path / "a.tar", questions=("q",))
    assert (row["error_code"], row["error_message"]) == ("image_missing", "a.tar sample x: no image, only pdf, txt")


def test_a_page_of_a_document_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = folder(tmp_path / "secret", a=coloured(1)) / "a.pdf"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.pdf").symlink_to(secret)
    write_csv(tmp_path / "in" / "t.csv", ["image_uri", "question"], [["link.pdf#page=1", "q"]])
    (row,) = read(tmp_path / "in" / "t.csv")
    assert row["error_code"] == "image_fetch_failed"
    assert "outside of the input's directory" in row["error_message"]


def test_requests_that_cannot_be_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, a=coloured(1))
    assert refused(tmp_path) == f"{tmp_path}: PDF documents bring no questions; ask every image with --question TEXT"
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    page_renderer.is_installed.cache_clear()
    try:
        assert refused(tmp_path, needs_question=False) == (
            f"{tmp_path}: PDF documents are read with pypdfium2: pip install 'vqa-ray[documents]'"
        )
    finally:
        monkeypatch.undo()
        page_renderer.is_installed.cache_clear()
