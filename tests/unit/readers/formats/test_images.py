from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.readers.inputs import open_at, read, refused, rows_of, write_csv, write_jsonl, write_parquet
from vqa_ray.readers import read_shard


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_every_image_file_is_a_row(tmp_path: Path) -> None:
    images = ["_DSC0001.JPG", "_x/e.jpg", "a.JPG", "b c/.hidden.jpg", "b c/d.png", "b c/é.webp"]
    touch(tmp_path, *images, "notes.txt", "more.md", "LICENSE", "more/LICENSE", "._a.JPG", ".DS_Store", "b c/Thumbs.db")
    source = open_at(tmp_path, questions=("what?",))
    assert (source.format, source.total_rows, source.multi_question) == ("images", 6, False)
    assert source.notes == (
        "4 files were left out: 2 × no suffix (for example LICENSE), 1 × .md (for example more.md), "
        "1 × .txt (for example notes.txt)",
    )
    rows = rows_of(source)
    assert [row["image_id"] for row in rows] == images
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


def test_the_folder_of_an_image_is_its_label(tmp_path: Path) -> None:
    touch(tmp_path, "mug/a.jpg", "T-Shirt/b.jpg", "deep/er/c.jpg", "loose.jpg")
    source = open_at(tmp_path, questions=("what?",), labels=("answer", "label"))
    assert (source.config.labels, source.columns) == (("label",), ("label",))
    assert {row["image_id"]: row["label"] for row in rows_of(source)} == {
        "mug/a.jpg": "mug",
        "T-Shirt/b.jpg": "T-Shirt",
        "deep/er/c.jpg": "er",
        "loose.jpg": None,
    }
    unlabelled = rows_of(source.with_labels(()))
    assert [row["row_id"] for row in unlabelled] == [row["row_id"] for row in rows_of(source)]
    assert "label" not in unlabelled[0]


def test_image_files_without_folders_have_no_label(tmp_path: Path) -> None:
    source = open_at(touch(tmp_path, "a.jpg"), needs_question=False, labels=("label",))
    assert (source.passthrough, source.columns) == ((), ())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_metadata_table_names_the_images_of_its_folder(tmp_path: Path, kind: str) -> None:
    touch(tmp_path, "train/a.jpg", "train/b/c.png", "train/other.jpg")
    file, names, values = (
        tmp_path / "train" / f"metadata.{kind}",
        ("file_name", "label"),
        [("a.jpg", "mug"), ("b/c.png", "hat")],
    )
    if kind == "csv":
        write_csv(file, names, values)
    elif kind == "jsonl":
        write_jsonl(file, [dict(zip(names, row, strict=True)) for row in values])
    else:
        write_parquet(file, dict(zip(names, zip(*values, strict=True), strict=True)))
    source = open_at(tmp_path, questions=("what?",), labels=("label",))
    assert source.format == kind
    assert source.notes == (
        f"3 image files lie beside the {kind} files; those that a row names are read, others are not",
    )
    rows = rows_of(source)
    assert [(row["image_id"], row["label"]) for row in rows] == [("train/a.jpg", "mug"), ("train/b/c.png", "hat")]
    assert [row["image_uri"] for row in rows] == [f"{tmp_path}/train/a.jpg", f"{tmp_path}/train/b/c.png"]
    # The images themselves can still be meant.
    assert open_at(tmp_path, format="images", questions=("what?",)).total_rows == 3


def test_other_tables_beside_images_are_not_guessed_at(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    write_csv(tmp_path / "metadata.csv", ["file_name"], [["a.jpg"]])
    write_csv(tmp_path / "prices.csv", ["file_name"], [["a.jpg"]])
    assert "holds files of several formats (2 csv, 1 images)" in refused(tmp_path, questions=("q",))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables_that_name_images_in_folders_below_them_are_the_input(tmp_path: Path, kind: str) -> None:
    touch(tmp_path, "images/a, b.jpg", "images/c.PNG", "images/other.jpg")
    columns, values = ("image", "question"), [("images/a, b.jpg", "q"), ("./images/c.PNG", "r")]
    for name, row in zip(("train", "val"), values, strict=True):
        if kind == "csv":
            write_csv(tmp_path / f"{name}.csv", columns, [row])
        else:
            write_jsonl(tmp_path / f"{name}.jsonl", [dict(zip(columns, row, strict=True))])
    source = open_at(tmp_path)
    assert (source.format, len(source.shards)) == (kind, 2)
    assert [row["image_uri"] for row in rows_of(source)] == [f"{tmp_path}/images/a, b.jpg", f"{tmp_path}/images/c.PNG"]
    # One that names none leaves it open what is meant.
    write_csv(tmp_path / "prices.csv", ["name", "price"], [["other.jpg", 3]])
    assert "holds files of several formats" in refused(tmp_path)


def test_damaged_tables_and_images_of_elsewhere_name_none(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg")
    (tmp_path / "rows.jsonl.gz").write_bytes(b"\x1f\x8b no gzip")
    assert "holds files of several formats" in refused(tmp_path)
    (tmp_path / "rows.jsonl.gz").unlink()
    write_jsonl(tmp_path / "rows.jsonl", [{"image": "elsewhere/a.jpg", "question": "q"}])
    assert "holds files of several formats" in refused(tmp_path)


def test_a_file_name_column_counts_only_where_nothing_else_holds_the_image(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["file_name", "url"], [["x.jpg", "http://host/y.jpg"]])
    assert open_at(tmp_path, needs_question=False).column_map.image_uri == ("url",)
