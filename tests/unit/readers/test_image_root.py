"""`--image-root`, and tables that name files in a column `image`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.readers.inputs import errors, read, refused, write_jsonl, write_parquet
from vqa_ray.errors import RowError
from vqa_ray.readers.image_root import below


def test_references_are_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    written = ["a.jpg", "x/../b.jpg", f"{root}/c.jpg", f"file://{root}/d%20e.jpg"]
    outside = ["../a.jpg", "x/../../a.jpg", "/etc/passwd", "file:///etc/passwd", "s3://b/a.jpg", "http://h/a.jpg", "."]
    lines = [{"image_uri": uri, "question": "q"} for uri in (*written, *outside)]
    rows = read(write_jsonl(tmp_path / "tables" / "a.jsonl", lines), image_root=str(root))
    names = ["a.jpg", "b.jpg", "c.jpg", "d e.jpg"]
    assert [row["image_uri"] for row in rows[:4]] == [f"{root}/{name}" for name in names]
    assert [row["image_id"] for row in rows[:4]] == names
    assert [row["error_code"] for row in rows[4:]] == ["image_fetch_failed"] * len(outside)
    assert len({row["row_id"] for row in rows}) == len(lines)
    assert "../a.jpg leads out of --image-root" in rows[4]["error_message"]


@pytest.mark.parametrize("root", ["s3://bucket/photos", "s3://bucket"])
def test_a_prefix_of_a_bucket_is_a_root(root: str) -> None:
    assert below(root, "x/a.jpg") == (f"{root}/x/a.jpg", "x/a.jpg")
    assert below(root, f"{root}/a.jpg") == (f"{root}/a.jpg", "a.jpg")
    assert below(root, f"s3a{root.removeprefix('s3')}/a.jpg") == (f"{root}/a.jpg", "a.jpg")
    for written in ("../../x", "/a.jpg", "s3://bucket2/photos/a.jpg", f"{root}2/a.jpg", f"{root}/../../c/a.jpg"):
        with pytest.raises(RowError, match="leads out of --image-root"):
            below(root, written)


def test_formats_that_hold_their_images_refuse_a_root(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    message = refused(tmp_path, questions=("q",), image_root="photos")
    assert message.startswith("--image-root ")
    assert "images input holds the images itself" in message


def test_tables_that_name_files_in_a_column_image(tmp_path: Path) -> None:
    dialogue = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "a dog"}]
    rows: list[dict[str, object]] = [{"image": "x/a.jpg", "conversations": dialogue}]
    rows += [{"image": "b.jpg", "conversations": dialogue * 2}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    write_parquet(tmp_path / "a.parquet", {"image": ["x/a.jpg", "b.jpg"], "conversations": [dialogue, dialogue * 2]})
    for name in ("a.json", "a.parquet"):
        assert "--column question=conversations asks what a person asks" in refused(tmp_path / name)
        found = read(tmp_path / name, columns={"question": "conversations"}, image_root=str(tmp_path / "p"))
        assert [row["questions"] for row in found] == [["what?"], []]
        assert [row["image_uri"] for row in found] == [f"{tmp_path}/p/x/a.jpg", f"{tmp_path}/p/b.jpg"]
        assert errors(found)[0] is None
        assert "a dialogue with one question (there are 2)" in found[1]["error_message"]
