"""What an index says of an image beside its vectors."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image as PillowImage

from tests.helpers.pictures import encoded, photo
from tests.unit.stages.test_decode import KEPT, png, table_of
from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.thumbnail import thumbnail_size
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.stages import image_metadata as describe
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import METADATA_COLUMNS, DescribeImages
from vqa_ray.stages.prepare import PrepareImages


@pytest.fixture
def decode(tmp_path: Path) -> DecodeImages:
    return DecodeImages(FakeTransform(), journal=CrashJournal("run", tmp_path))


def described(decode: DecodeImages, rows: list[dict[str, Any]], **options: bool) -> pa.Table:
    table = table_of(rows)
    return DescribeImages(**options)(table, decode(table))


def size(data: bytes) -> tuple[int, int]:
    return PillowImage.open(io.BytesIO(data)).size


def test_columns_stand_at_the_end_and_say_where_the_image_is(decode: DecodeImages) -> None:
    data = png()
    table = described(decode, [{"image": data, "image_uri": "s3://b/a.png"}, {"image": data}])
    fields = [pa.field("sha256", pa.string()), pa.field("thumbnail", pa.binary())]
    assert table.schema.equals(schema.with_kept(schema.DECODED, [KEPT, *fields]))
    assert table["image_uri"].to_pylist() == ["s3://b/a.png", None]
    assert table["sha256"].to_pylist() == [hashlib.sha256(data).hexdigest()] * 2


def test_error_rows_keep_what_is_known(decode: DecodeImages) -> None:
    rows = [
        {"image": b"not an image", "image_uri": "a.jpg"},
        {"image_uri": "b.jpg", "status": "error", "error_code": "image_missing", "error_message": "gone"},
        {"image": png()},
    ]
    table = described(decode, rows)
    assert table["error_code"].to_pylist() == ["image_undecodable", "image_missing", None]
    assert table["image_uri"].to_pylist() == ["a.jpg", "b.jpg", None]
    assert [value is None for value in table["sha256"].to_pylist()] == [False, True, False]
    assert [value is None for value in table["thumbnail"].to_pylist()] == [True, True, False]


@pytest.mark.parametrize("transform", [FakeTransform(), SquareTransform(224), SquareTransform(16)])
@pytest.mark.parametrize("shape", [(640, 480), (300, 900), (20, 12)])
def test_thumbnails_have_the_shape_of_the_source_whatever_the_model_wants(
    tmp_path: Path, transform: Any, shape: tuple[int, int]
) -> None:
    """From the model's pixels where these are enough, else from the file: equal but for what resizing twice costs."""
    decode = DecodeImages(transform, journal=CrashJournal("run", tmp_path))
    width, height = shape
    # Grey: JPEG keeps half of the colours of an image only.
    image = photo(width, height).convert("L").convert("RGB")
    table = described(decode, [{"image": encoded(image, "PNG")}])
    found = PillowImage.open(io.BytesIO(table["thumbnail"][0].as_py()))
    assert found.size == thumbnail_size(height, width)[::-1]
    wanted = image.resize(found.size, PillowImage.Resampling.BICUBIC)
    differences = [abs(a - b) for a, b in zip(found.tobytes(), wanted.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 5.5


def test_an_image_that_lies_on_its_side_is_shown_upright(decode: DecodeImages) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    table = described(decode, [{"image": encoded(photo(400, 200), "JPEG", exif=exif)}])
    assert size(table["thumbnail"][0].as_py()) == (80, 160)
    assert (table["source_height"][0].as_py(), table["source_width"][0].as_py()) == (400, 200)


def test_rows_of_the_same_image_share_their_thumbnail(decode: DecodeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(describe, "thumbnail", lambda *given: calls.append(given) or b"jpeg")
    data = png()
    table = described(decode, [{"image": data}, {"image": png(9, 9)}, {"image": data}])
    assert table["thumbnail"].to_pylist() == [b"jpeg"] * 3
    assert len(calls) == 2


def test_without_thumbnails_there_are_none(decode: DecodeImages) -> None:
    table = described(decode, [{"image": png()}], thumbnails=False)
    assert table["thumbnail"].to_pylist() == [None]
    assert table["sha256"].null_count == 0


def test_a_file_that_cannot_be_decoded_again_is_an_error_row(
    decode: DecodeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RowError(ErrorCode.IMAGE_TOO_LARGE, "not enough memory to decode it")

    monkeypatch.setattr(describe, "decode_resized", refuse)
    table = described(decode, [{"image": png(300, 200), "image_uri": "a.png"}, {"image": png(20, 20)}])
    assert table["status"].to_pylist() == ["error", "ok"]
    assert table["error_code"].to_pylist() == ["image_too_large", None]
    assert table["error_message"].to_pylist() == ["a.png: thumbnail: not enough memory to decode it", None]


def test_it_is_the_last_step_of_preparing(decode: DecodeImages, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    table = table_of([{"image_uri": str(tmp_path / "a.png")}, {"image_uri": str(tmp_path / "b.png")}])
    prepared = PrepareImages(FetchImages(ImageFetcher(10**6)), decode, DescribeImages())(table)
    assert prepared.column_names[-2:] == list(METADATA_COLUMNS)
    assert prepared["sha256"].to_pylist() == [hashlib.sha256(png()).hexdigest(), None]
    assert prepared["status"].to_pylist() == ["ok", "error"]
    assert PrepareImages(FetchImages(ImageFetcher(10**6)), decode)(table).schema.equals(
        schema.with_kept(schema.DECODED, [KEPT])
    )
