from __future__ import annotations

from pathlib import Path

from tests.unit.readers.inputs import open_at, read, refused, rows_of
from vqa_ray.readers import read_shard


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_every_image_file_is_a_row(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.JPG", "b c/d.png", "b c/é.webp", "b c/.hidden.jpg", "_x/e.jpg", "notes.txt", "more.md", "LICENSE"
    )
    source = open_at(tmp_path, questions=("what?",))
    assert (source.format, source.total_rows, source.several) == ("images", 3, False)
    assert source.notes == (
        "3 files are not images by their names and were left out: 1 × no suffix, 1 × .md, 1 × .txt",
    )
    rows = rows_of(source)
    assert [row["image_id"] for row in rows] == ["a.JPG", "b c/d.png", "b c/é.webp"]
    assert [row["image_uri"] for row in rows] == [f"{tmp_path}/{row['image_id']}" for row in rows]
    assert all(row["questions"] == ["what?"] and row["image"] is None for row in rows)


def test_identity_moves_with_the_directory(tmp_path: Path) -> None:
    one = read(touch(tmp_path / "one", "a/b.jpg"), questions=("q",))
    two = read(touch(tmp_path / "two", "a/b.jpg"), questions=("q",))
    assert one[0]["row_id"] == two[0]["row_id"]
    assert one[0]["row_id"] != read(tmp_path / "one", questions=("r",))[0]["row_id"]


def test_shards_hold_256_files(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i:04}.jpg" for i in range(600)))
    source = open_at(tmp_path, needs_question=False)
    assert [shard.rows for shard in source.shards] == [256, 256, 88]
    assert len(rows_of(source)) == 600
    (table,) = read_shard(source, source.shards[1], {(1 << 32) + 3})
    assert table["image_id"].to_pylist() == ["0259.jpg"]


def test_one_file_and_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.png", "b/1.jpg")
    assert [row["image_id"] for row in read(tmp_path / "a/1.jpg", needs_question=False)] == ["1.jpg"]
    assert [row["image_id"] for row in read(tmp_path / "*/1.jpg", needs_question=False)] == ["a/1.jpg", "b/1.jpg"]


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert refused(tmp_path) == f"{tmp_path}: image files bring no questions; ask every image with --question TEXT"
    assert refused(tmp_path, needs_question=False, keep=("x",)) == f"{tmp_path}: --keep x: image files have no columns"
    assert refused(tmp_path, needs_question=False, columns={"image": "x"}) == (
        f"{tmp_path}: --column image=x: 'image' cannot be given here; this format has no columns"
    )
