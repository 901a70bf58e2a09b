from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from vqa_ray import schema
from vqa_ray.conversation.conversation import CONVERSATION
from vqa_ray.errors import ErrorCode
from vqa_ray.images import decoder as images
from vqa_ray.images import sized
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages, image_key

KEPT = pa.field("price", pa.float64())


def png(width: int = 30, height: int = 20, colour: tuple[int, int, int] = (1, 2, 3)) -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    filled = [
        {
            "source_key": index,
            "row_id": 100 + index,
            "image_id": f"image-{index}",
            "question_id": None,
            "questions": ["what?"],
            "image_uri": None,
            "image": None,
            "status": schema.STATUS_OK,
            "error_code": None,
            "error_message": None,
            "price": index / 2,
            **row,
        }
        for index, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled, schema=schema.with_kept(schema.READ, [KEPT]))


@pytest.fixture
def journal(tmp_path: Path) -> CrashJournal:
    return CrashJournal("run", tmp_path)


def test_rows_become_pixels_of_the_wanted_size(journal: CrashJournal) -> None:
    data = [png(), png(20, 30, (9, 8, 7))]
    table = DecodeImages(FakeTransform(), journal=journal)(table_of([{"image": image} for image in data]))
    assert table.schema.equals(schema.with_kept(schema.DECODED, [KEPT]))
    table.validate(full=True)
    for row, image in zip(table.to_pylist(), data, strict=True):
        expected = decode_resized(image, ImageLimits(), FakeTransform().target_size)
        assert (row["height"], row["width"]) == expected.shape[:2]
        assert row["pixels"] == expected.tobytes()
        assert row["status"] == schema.STATUS_OK
        assert row["image_key"] == image_key(image)
    assert table["row_id"].to_pylist() == [100, 101]
    assert table["questions"].to_pylist() == [["what?"]] * 2
    assert table["price"].to_pylist() == [0.0, 0.5]


def test_conversations_without_images_pass(journal: CrashJournal) -> None:
    talks = [[{"role": "user", "text": text}, {"role": "assistant", "text": "A"}] for text in ("Q", "<image>Q", "Q")]
    rows = table_of([{}, {}, {"status": schema.STATUS_ERROR, "error_code": "image_missing"}])
    table = DecodeImages(FakeTransform(), journal=journal)(
        rows.append_column(CONVERSATION, pa.array(talks, CONVERSATION.type))
    )
    assert table["error_code"].to_pylist() == [None, "image_missing", "image_missing"]
    assert table["pixels"].to_pylist() == [None] * 3
    assert table[CONVERSATION.name].to_pylist() == talks


def test_bad_rows_cost_themselves_alone(journal: CrashJournal) -> None:
    rows = [
        {"image": png()},
        {"image": b"text", "image_uri": "https://host/a.jpg?secret=1"},
        {},
        {"image_uri": "s3://b/a.jpg"},
        {"image": png(2000, 20)},
        {"image": png(), "status": "error", "error_code": "row_malformed", "error_message": "line 3"},
        {"image": b""},
        {"image": png()},
    ]
    result = DecodeImages(FakeTransform(), journal=journal)(table_of(rows)).to_pylist()
    assert [row["error_code"] for row in result] == [
        None,
        ErrorCode.IMAGE_UNDECODABLE,
        ErrorCode.IMAGE_MISSING,
        ErrorCode.IMAGE_MISSING,
        ErrorCode.IMAGE_ASPECT_RATIO,
        ErrorCode.ROW_MALFORMED,
        ErrorCode.IMAGE_MISSING,
        None,
    ]
    assert result[1]["error_message"].startswith("https://host/a.jpg: not an image")
    assert result[2]["error_message"] == "the row has neither image bytes nor an image URI"
    assert result[3]["error_message"] == "s3://b/a.jpg: the image was not fetched"
    assert result[5]["error_message"] == "line 3"
    for row in result:
        failed = row["status"] == schema.STATUS_ERROR
        assert failed == (row["error_code"] is not None)
        assert failed == (row["pixels"] is None) == (row["height"] is None) == (row["image_key"] is None)
        assert failed == (row["source_height"] is None) == (row["source_width"] is None)


def test_the_same_image_is_decoded_once(journal: CrashJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []

    def counted(data: bytes, *args: Any, **options: Any) -> Any:
        calls.append(data)
        return images.decode_resized(data, *args, **options)

    monkeypatch.setattr(sized, "decode_resized", counted)
    one, two = png(), png(colour=(5, 5, 5))
    rows = [{"image": one}, {"image": two}, {"image": one}, {"image": b"bad"}, {"image": b"bad"}, {"image": one}]
    result = DecodeImages(FakeTransform(), journal=journal)(table_of(rows)).to_pylist()
    assert sorted(calls) == sorted([one, two, b"bad"])
    assert result[0]["pixels"] == result[2]["pixels"] == result[5]["pixels"] != result[1]["pixels"]
    assert result[0]["image_key"] == result[5]["image_key"] != result[1]["image_key"]
    assert [row["status"] for row in result] == ["ok", "ok", "ok", "error", "error", "ok"]


def test_one_uri_with_different_bytes_is_two_images(journal: CrashJournal) -> None:
    rows = [{"image": png(colour=(shade, 0, 0)), "image_uri": "image.png"} for shade in (10, 200)]
    first, second = DecodeImages(FakeTransform(), journal=journal)(table_of(rows)).to_pylist()
    assert first["pixels"] != second["pixels"]
    assert first["image_key"] != second["image_key"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "bad", "none", "error"]), max_size=12), st.integers(1, 5))
def test_blocks_split_differently_give_the_same_rows(kinds: list[str], size: int) -> None:
    choices: dict[str, dict[str, Any]] = {
        "a": {"image": png()},
        "b": {"image": png(8, 40)},
        "bad": {"image": b"x"},
        "none": {},
        "error": {"status": "error", "error_code": "row_malformed"},
    }
    table = table_of([choices[kind] for kind in kinds])
    stage = DecodeImages(FakeTransform(), run_id=f"test-{os.getpid()}")
    whole = stage(table)
    parts = [stage(table.slice(start, size)) for start in range(0, len(kinds), size)]
    assert whole.num_rows == len(kinds)
    if parts:
        assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()


def test_limits_and_fast_decoding_are_passed_on(journal: CrashJournal) -> None:
    row = table_of([{"image": png(100, 100)}])
    strict = DecodeImages(FakeTransform(), ImageLimits(max_image_pixels=9_999), journal=journal)
    assert strict(row)["error_code"].to_pylist() == [ErrorCode.IMAGE_TOO_LARGE]
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    file = io.BytesIO()
    PillowImage.fromarray(noise).save(file, "JPEG")
    exact, fast = (
        DecodeImages(FakeTransform(), fast_decode=fast, journal=journal)(table_of([{"image": file.getvalue()}]))
        for fast in (False, True)
    )
    assert exact["height"].to_pylist() == fast["height"].to_pylist() == [64]
    assert exact["pixels"].to_pylist() != fast["pixels"].to_pylist()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("orientation", "size"), [(1, (600, 1000)), (3, (600, 1000)), (6, (1000, 600))])
def test_the_size_of_the_source_is_that_of_the_upright_image(
    journal: CrashJournal, orientation: int, size: tuple[int, int], fast: bool
) -> None:
    file, exif = io.BytesIO(), PillowImage.Exif()
    exif[274] = orientation
    PillowImage.new("RGB", (1000, 600)).save(file, "JPEG", exif=exif)
    rows = table_of([{"image": file.getvalue()}, {"image": b"x"}])
    first, second = DecodeImages(FakeTransform(), fast_decode=fast, journal=journal)(rows).to_pylist()
    assert (first["source_height"], first["source_width"]) == size
    assert (first["height"] > first["width"]) == (size[0] > size[1])
    assert second["source_height"] is None


def test_a_mistake_of_the_program_raises_and_leaves_no_note(journal: CrashJournal, tmp_path: Path) -> None:
    class Broken:
        def target_size(self, height: int, width: int) -> tuple[int, int]:
            raise ZeroDivisionError("a mistake")

    with pytest.raises(ZeroDivisionError, match="a mistake"):
        DecodeImages(Broken(), journal=journal)(table_of([{"image": png()}]))
    assert not list(tmp_path.iterdir())


def test_a_row_that_kills_its_process_becomes_an_error_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "killer.py").write_text(
        "import os\n"
        "class Killer:\n"
        "    def target_size(self, height, width):\n"
        "        if width == 13: os._exit(7)\n"
        "        return 8, 8\n"
    )
    notes = tmp_path / "notes"
    program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from pathlib import Path
import pyarrow as pa
from killer import Killer
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.crash_journal import CrashJournal
with pa.ipc.open_stream(sys.argv[1]) as reader: table = reader.read_all()
result = DecodeImages(Killer(), journal=CrashJournal("run", Path({str(notes)!r})))(table)
with pa.OSFile(sys.argv[2], "wb") as file, pa.ipc.new_stream(file, result.schema) as writer: writer.write_table(result)
"""
    table = table_of([{"image": png(width)} for width in (20, 13, 21)])
    source, sink = tmp_path / "in.arrow", tmp_path / "out.arrow"
    with pa.OSFile(str(source), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    command = [sys.executable, "-c", program, str(source), str(sink)]
    assert subprocess.run(command, check=False).returncode == 7
    assert not sink.exists()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with pa.ipc.open_stream(str(sink)) as reader:
        result = reader.read_all().to_pylist()
    codes = [row["error_code"] for row in result]
    assert codes == [None, ErrorCode.ROW_CRASHED, None]
    assert result[1]["error_message"] == "decoding the image ended its process (exit status 7)"
    assert [row["height"] for row in result] == [8, None, 8]
    assert not list(notes.iterdir())


def test_the_stage_pickles_and_takes_no_rows(journal: CrashJournal) -> None:
    stage = pickle.loads(pickle.dumps(DecodeImages(FakeTransform(), journal=journal)))
    result = stage(table_of([]))
    assert result.num_rows == 0
    assert result.schema.equals(schema.with_kept(schema.DECODED, [KEPT]))


def test_keys_are_the_same_in_every_process() -> None:
    assert image_key(b"a") == 4_681_665_781_835_383_343
    assert image_key(b"b") != image_key(b"a")


def test_all_images_of_a_row_are_decoded_or_the_row_says_which_one_failed(journal: CrashJournal) -> None:
    red, blue = png(colour=(200, 0, 0)), png(20, 30, (0, 0, 200))
    rows: list[dict[str, Any]] = [
        {"image": red, "extra_images": [{"image": blue}, {"image": red}]},
        {"image": blue},
        {"image": red, "extra_images": [{"image": blue}, {"image": b"text"}]},
        {"image": red, "extra_images": [{"image": b"text", "image_uri": "s3://b/c.jpg"}]},
    ]
    several, single, unnamed, named = DecodeImages(FakeTransform(), journal=journal)(table_of(rows)).to_pylist()
    for shown, image in zip([several, *several["extra_images"]], (red, blue, red), strict=True):
        expected = decode_resized(image, ImageLimits(), FakeTransform().target_size)
        assert (shown["height"], shown["width"], shown["pixels"]) == (*expected.shape[:2], expected.tobytes())
        assert shown["image_key"] == image_key(image)
    assert (single["status"], single["extra_images"]) == ("ok", None)
    for failed in (unnamed, named):
        assert (failed["error_code"], failed["pixels"], failed["extra_images"]) == (
            ErrorCode.IMAGE_UNDECODABLE,
            None,
            None,
        )
    assert unnamed["error_message"].startswith("image 3 of 3: not an image")
    assert named["error_message"].startswith("s3://b/c.jpg: not an image")
