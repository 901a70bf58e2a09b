"""Columns that the path of a file speaks of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.readers.inputs import open_at, read, refused, write_csv, write_jsonl, write_parquet, write_tar
from vqa_ray.readers.partitions import path_values
from vqa_ray.schema import passthrough_name


def kept(rows: list[dict[str, object]], *names: str) -> list[tuple[object, ...]]:
    return [tuple(row[passthrough_name(name)] for name in names) for row in rows]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("split=test/date=2026-01-01/0.parquet", {"split": "test", "date": "2026-01-01"}),
        ("a%20b=50%25/x=__HIVE_DEFAULT_PARTITION__/0.csv", {"a b": "50%", "x": None}),
        ("x=%ff/y=5%/z=a=b/0.csv", {"x": "%ff", "y": "5%", "z": "a=b"}),
        ("=x/0.csv", {}),
        ("validation/0.csv", {"split": "validation"}),
        ("Val/deep/er/0.csv", {"split": "Val"}),
        ("train/split=mine/0.csv", {"split": "mine"}),
        ("trainers/0.csv", {}),
        ("en/test/0000.parquet", {"split": "test", "config": "en"}),
        ("data/test/0000.parquet", {"split": "test"}),
        ("en/test_v2-00000-of-00003.parquet", {"split": "test_v2", "config": "en"}),
        ("data-00000-of-00003.parquet", {}),
        ("train-000017.tar", {"split": "train"}),
        ("dev.jsonl.gz", {"split": "dev"}),
        ("training-notes.csv", {}),
    ],
)
def test_what_a_path_says(path: str, values: dict[str, str | None]) -> None:
    assert path_values(f"/in/put/{path}", "/in/put") == values
    assert path_values(f"s3://bucket/put/{path}", "s3://bucket/put") == values


def test_partitions_are_the_same_whichever_part_of_a_table_is_read() -> None:
    file = "/t/split=a/day=1/0.parquet"
    assert path_values(file, "/t") == path_values(file, "/t/split=a/day=1") == {"split": "a", "day": "1"}
    assert path_values("/t/train/0.parquet", "/t/train") == {"split": "train"}
    assert path_values("/train/t/0.parquet", "/train/t") == {}
    assert path_values("/t/test.jpg", "/t", by_file_name=False) == {}


def test_parquet(tmp_path: Path) -> None:
    for i, place in enumerate(("split=test/day=01", "split=train/day=__HIVE_DEFAULT_PARTITION__")):
        write_parquet(tmp_path / place / "0.parquet", {"image": [b"%d" % i] * 2, "n": [i, i]})
    rows = read(tmp_path, questions=("q?",), keep=("split", "n", "day"), columns={"question_id": "day"})
    assert kept(rows, "split", "n", "day") == [("test", 0, "01")] * 2 + [("train", 1, None)] * 2
    assert [row["question_id"] for row in rows] == ["01", "01", None, None]
    one = read(tmp_path / "split=test", questions=("q?",), keep=("split",))
    assert kept(one, "split") == [("test",), ("test",)]
    assert "the columns are: image, n, split, day" in refused(tmp_path, questions=("q?",), keep=("splat",))


def test_a_column_of_the_file_wins(tmp_path: Path) -> None:
    write_parquet(tmp_path / "p/split=a/0.parquet", {"image": [b"i"], "split": [7]})
    write_csv(tmp_path / "c/split=a/0.csv", ["url", "split"], [["i.jpg", "own"], ["j.jpg", ""]])
    write_jsonl(tmp_path / "j/split=a/0.jsonl", [{"url": "i.jpg", "split": "own"}, {"url": "j.jpg"}])
    read_kept = {"questions": ("q?",), "keep": ("split",)}
    assert kept(read(tmp_path / "p", **read_kept), "split") == [(7,)]
    assert kept(read(tmp_path / "c", **read_kept), "split") == [("own",), (None,)]
    assert kept(read(tmp_path / "j", **read_kept), "split") == [("own",), ("a",)]


def test_text_formats_and_tars(tmp_path: Path) -> None:
    for split, day in (("test", "007"), ("train", "1.10")):
        write_csv(tmp_path / f"c/{split}/day={day}/0.csv", ["url"], [["i.jpg"]])
        write_jsonl(tmp_path / f"j/{split}/day={day}/0.jsonl", [{"url": "i.jpg"}])
        write_tar(tmp_path / f"t/{split}/day={day}/0.tar", [("a.jpg", b"i"), ("a.txt", b"q?")])
    for each in "cjt":
        rows = read(tmp_path / each, questions=("q?",), keep=("split", "day"), columns={"question_id": "day"})
        assert kept(rows, "split", "day") == [("test", "007"), ("train", "1.10")]
        assert [row["question_id"] for row in rows] == ["007", "1.10"]


def test_image_files(tmp_path: Path) -> None:
    for place in ("train/cat", "test/label=dog", "."):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "val.jpg").write_bytes(b"i")
    rows = read(tmp_path, keep=("split", "label"), columns={"question": "label"}, questions=("q?",))
    assert {row["image_id"]: row[passthrough_name("split")] for row in rows} == {
        "train/cat/val.jpg": "train",
        "test/label=dog/val.jpg": "test",
        "val.jpg": None,
    }
    assert sorted(map(str, kept(rows, "label"))) == ["('cat',)", "('dog',)", "(None,)"]
    asked = read(tmp_path / "train", columns={"question": "label"})
    assert [row["questions"] for row in asked] == [["cat"]]


def test_directories_change_no_input_that_does_not_name_them(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "image_id=7/question=what/row_id=1/0.jsonl", [{"url": "i.jpg", "question": "q?"}])
    write_jsonl(tmp_path / "plain/image_id/0.jsonl", [{"url": "i.jpg", "question": "q?"}])
    ours, plain = read(tmp_path / "image_id=7"), read(tmp_path / "plain")
    assert [row["questions"] for row in ours] == [["q?"]]
    assert [row["row_id"] for row in plain] != [1]
    assert ours[0]["image_id"] != "7"
    assert "question" not in open_at(tmp_path / "image_id=7", questions=("q?",)).columns[2:]


@pytest.mark.parametrize(("root", "labels"), [("in", ["label=cat", "label=dog"]), ("label=v2/in", ["cat", "dog"])])
def test_a_training_label_is_the_whole_name_of_the_folder(tmp_path: Path, root: str, labels: list[str]) -> None:
    for name in labels:
        (tmp_path / root / name).mkdir(parents=True)
        (tmp_path / root / name / "a.png").write_bytes(b"not read")
    rows = read(tmp_path / root, questions=("q?",), labels=("label",))
    assert [row["label"] for row in rows] == labels
