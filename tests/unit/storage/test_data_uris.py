"""`data:` URIs, wherever an image reference is taken."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.helpers.pictures import encoded, photo
from tests.unit.readers.inputs import read, write_jsonl
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.storage.data_uris import decode_data_uri, is_bare_base64, short_data_uri
from vqa_ray.storage.uri import redacted_uri

PNG = encoded(photo(40, 30), "PNG")
TEXT = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{TEXT}"


@pytest.mark.parametrize(
    "uri",
    [
        URI,
        f"DATA:image/png;charset=utf-8;BASE64,{TEXT}",
        f"data:;base64,{TEXT.rstrip('=')}",
        f"data:image/png;base64,{quote(TEXT, safe='')}",
        f"data:image/png;base64,{base64.urlsafe_b64encode(PNG).decode()}",
        "data:image/png;base64," + "\n ".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)),
        f"data:image/png,{quote(PNG, safe='')}",
    ],
)
def test_every_way_of_writing_is_decoded(uri: str) -> None:
    assert decode_data_uri(uri, len(PNG)) == PNG
    assert ImageFetcher(len(PNG)).fetch(uri) == PNG


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("data:image/png;base64", "image_undecodable", "no comma"),
        ("data:image/png;base64,@@@@", "image_undecodable", "not valid base64"),
        ("data:image/png;base64,QUJDR", "image_undecodable", "not valid base64"),
        ("data:image/png;base64,%ff%ff", "image_undecodable", "not valid base64"),
        ("data:,", "image_missing", "holds no data"),
        (URI, "image_too_large", "at most 100 are allowed"),
        ("data:," + quote(PNG, safe=""), "image_too_large", "at most 100 are allowed"),
    ],
)
def test_what_is_malformed_or_too_large_is_told(uri: str, code: str, message: str) -> None:
    with pytest.raises(RowError, match=message) as raised:
        ImageFetcher(100).fetch(uri)
    assert raised.value.code == code
    assert TEXT[:20] not in raised.value.message


def test_messages_and_ids_are_short() -> None:
    assert redacted_uri(URI) == short_data_uri(URI)
    assert len(short_data_uri("data:" + "x" * 10**6)) < 100


def test_rows_bring_images_in_their_references(tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": URI}}
    lines: list[dict[str, object]] = [
        {"image_uri": URI, "question": "q"},
        {"image_uri": {"url": URI}, "question": "q"},
        {"image_uri": part, "question": "q"},
        {"image_url": URI, "question": "q"},
        {"image_uri": "data:image/png;base64,@", "question": "q"},
        {"image_uri": "data:image/png;base64,@@", "question": "q"},
    ]
    rows = read(write_jsonl(tmp_path / "a.jsonl", lines))
    assert [row["image"] for row in rows] == [PNG] * 4 + [None] * 2
    assert [row["image_uri"] for row in rows[:4]] == [None] * 4
    assert len({row["image_id"] for row in rows}) == 3
    assert all(len(row["image_id"]) < 40 for row in rows)
    assert len({row["row_id"] for row in rows}) == 3
    assert [row["error_code"] for row in rows] == [None] * 4 + [str(ErrorCode.IMAGE_UNDECODABLE)] * 2
    assert "not valid base64" in rows[-1]["error_message"]


def test_several_images_of_one_row(tmp_path: Path) -> None:
    images = [URI, {"type": "image_url", "image_url": {"url": "a.jpg"}}, {"url": URI}]
    file = write_jsonl(tmp_path / "a.jsonl", [{"images": images, "question": "q"}])
    (row,) = read(file, reads_several=True)
    assert row["status"] == "ok"
    assert [row["image"], *(one["image"] for one in row["extra_images"])] == [PNG, None, PNG]
    assert row["extra_images"][0]["image_uri"] == f"{tmp_path}/a.jpg"


def test_messages_about_other_values_hide_secrets_too(tmp_path: Path) -> None:
    secret = ["https://user:s3cret@h/a.jpg?sig=s3cret", "s3://key:s3cret@b/x"]
    lines: list[dict[str, object]] = [{"image_uri": uri, "question": "q"} for uri in (secret, {"a": secret[1]})]
    rows = read(write_jsonl(tmp_path / "a.jsonl", lines))
    for row in rows:
        assert row["error_code"] == "row_malformed"
        assert "s3cret" not in row["error_message"]


def test_a_cell_of_megabytes_is_a_row_of_its_own(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"image_uri": "x" * 2_000_000, "question": "q"},
        {"image_uri": "http://h/" + "y" * 2_000_000, "question": "q"},
        {"image_uri": "a.jpg", "question": "q"},
    ]
    rows = read(write_jsonl(tmp_path / "a.jsonl", lines))
    assert [row["error_code"] for row in rows] == ["row_malformed", "row_malformed", None]
    assert all(len(json.dumps(row)) < 2000 for row in rows)
    assert "2000000 characters" in rows[0]["error_message"]
    assert len({row["row_id"] for row in rows}) == 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
def test_bare_base64_is_told_from_references(form: str) -> None:
    text = base64.b64encode(encoded(photo(40, 30), form)).decode()
    assert is_bare_base64(text)
    assert not is_bare_base64(f"{text[:80]}.jpg")
    assert not is_bare_base64("/9j/short")


def test_bare_base64_in_a_cell_is_an_error_that_says_so(tmp_path: Path) -> None:
    text = base64.b64encode(encoded(photo(40, 30), "JPEG")).decode()
    (row,) = read(write_jsonl(tmp_path / "a.jsonl", [{"image": text, "question": "q"}]))
    assert row["error_message"] == (
        "a.jsonl line 1: column 'image' holds base64, which is no reference; wanted is data:image/jpeg;base64,… or "
        "bytes"
    )
    assert len(row["image_id"]) < 40
