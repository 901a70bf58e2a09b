from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.helpers.s3 import s3_bucket
from tests.unit.stages.test_decode import KEPT, table_of
from vqa_ray import schema
from vqa_ray.errors import ErrorCode
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.storage.atomic import write_bytes_atomic


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("fetch-stage") as uri:
        yield uri


def test_references_become_bytes_and_failures_error_rows(bucket: str, tmp_path: Path) -> None:
    write_bytes_atomic(f"{bucket}/a.jpg", b"on s3")
    (tmp_path / "b.jpg").write_bytes(b"local")
    (tmp_path / "big.jpg").write_bytes(bytes(101))
    table = table_of(
        [
            {"image_uri": f"{bucket}/a.jpg"},
            {"image": b"given", "image_uri": "whatever"},
            {"image_uri": str(tmp_path / "b.jpg")},
            {"image_uri": str(tmp_path / "absent.jpg")},
            {"image_uri": str(tmp_path / "big.jpg")},
            {"image_uri": "https://host/a.jpg?secret"},
            {"image_uri": f"{bucket}/a.jpg"},
            {},
            {"image_uri": f"{bucket}/a.jpg", "status": "error", "error_code": "question_missing"},
        ]
    )
    result = FetchImages(ImageFetcher(100))(table)
    assert result.schema.equals(schema.with_kept(schema.READ, [KEPT]))
    rows = result.to_pylist()
    assert [row["image"] for row in rows] == [b"on s3", b"given", b"local", None, None, None, b"on s3", None, None]
    assert [row["error_code"] for row in rows] == [
        None,
        None,
        None,
        ErrorCode.IMAGE_MISSING,
        ErrorCode.IMAGE_TOO_LARGE,
        ErrorCode.IMAGE_FETCH_FAILED,
        None,
        None,
        "question_missing",
    ]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error", "error", "error", "ok", "ok", "error"]
    assert rows[3]["error_message"] == f"{tmp_path / 'absent.jpg'}: nothing is stored there"
    assert rows[5]["error_message"].startswith("https://host/a.jpg: not allowed")
    unchanged = [name for name in table.column_names if name not in ("image", "status", "error_code", "error_message")]
    assert result.select(unchanged).equals(table.select(unchanged))


def test_rows_with_bytes_pass_through_untouched() -> None:
    table = table_of([{"image": b"given"}, {}])
    assert FetchImages(ImageFetcher(100))(table) is table
    empty = table_of([])
    assert FetchImages(ImageFetcher(100))(empty) is empty


def test_columns_may_come_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    table = table_of([{"image_uri": str(tmp_path / "a")}])
    turned = table.select(table.column_names[::-1])
    assert FetchImages(ImageFetcher(100))(turned).select(table.column_names).to_pylist()[0]["image"] == b"x"
    assert isinstance(turned, pa.Table)


def test_the_stage_pickles() -> None:
    assert isinstance(pickle.loads(pickle.dumps(FetchImages(ImageFetcher(100, allow_http=True)))), FetchImages)


def test_every_image_of_a_row_is_fetched_and_one_that_cannot_be_fails_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    a, b, absent = (str(tmp_path / f"{name}.jpg") for name in ("a", "b", "absent"))
    table = table_of(
        [
            {"image_uri": a, "extra_images": [{"image_uri": b, "image": None}, {"image_uri": None, "image": b"given"}]},
            {"image": b"given", "extra_images": [{"image_uri": absent, "image": None}]},
            {"image_uri": b},
        ]
    )
    whole, failed, single = FetchImages(ImageFetcher(100))(table).to_pylist()
    assert (whole["image"], [other["image"] for other in whole["extra_images"]]) == (b"a", [b"b", b"given"])
    assert (failed["status"], failed["error_code"]) == ("error", ErrorCode.IMAGE_MISSING)
    assert failed["error_message"] == f"{absent}: nothing is stored there"
    assert (single["image"], single["extra_images"]) == (b"b", None)
