from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pytest
from pyarrow import ipc

from tests.unit.readers.inputs import errors, open_at, read, refused, rows_of, write_parquet
from vqa_ray.readers import InputConfig, Source
from vqa_ray.readers.formats.hf import is_hub_name, open_streamed


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / ".cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def dataset(count: int = 5, **more: list[object]) -> datasets.Dataset:
    images = [{"bytes": b"i%d" % i, "path": f"{i}.jpg"} for i in range(count)]
    made = datasets.Dataset.from_dict({"image": images, "question": [f"q{i}" for i in range(count)], **more})
    return made.cast_column("image", datasets.Image(decode=False))


def test_a_saved_dataset(tmp_path: Path) -> None:
    labels = datasets.ClassLabel(names=["cat", "dog"])
    made = dataset(5, label=[0, 1, 0, 1, 0]).cast_column("label", labels)
    made.save_to_disk(tmp_path / "d", num_shards=2)
    source = open_at(tmp_path / "d", keep=("label",))
    assert (source.format, source.total_rows, [shard.rows for shard in source.shards]) == ("hf", 5, [3, 2])
    rows = rows_of(source)
    assert [row["image"] for row in rows] == [b"i%d" % i for i in range(5)]
    assert [(row["image_id"], row["questions"], row["label"]) for row in rows[:2]] == [
        ("0.jpg", ["q0"], 0),
        ("1.jpg", ["q1"], 1),
    ]
    assert refused(f"{tmp_path}/d#train") == (
        f"{tmp_path}/d#train: this dataset has no splits to choose from; leave out #train"
    )
    assert refused(tmp_path / "d", columns={"question": "text"}) == (
        f"{tmp_path}/d: no column 'text' (--column question=text); the columns are: image, question, label"
    )


def test_selected_rows_are_saved_as_they_are_seen(tmp_path: Path) -> None:
    dataset(5).select([4, 1]).save_to_disk(tmp_path / "d")
    assert [row["image_id"] for row in read(tmp_path / "d")] == ["4.jpg", "1.jpg"]


def test_splits_are_chosen(tmp_path: Path) -> None:
    saved = tmp_path / "d"
    datasets.DatasetDict({"train": dataset(3), "test": dataset(2)}).save_to_disk(saved)
    assert refused(saved) == f"{saved}: has several splits, train, test; choose one with {saved}#SPLIT"
    assert refused(f"{saved}#dev") == f"{saved}#dev: has no 'dev'; its splits are: train, test"
    assert len(read(f"{saved}#test")) == 2
    assert open_at(f"{saved}#test").fingerprint != open_at(f"{saved}#train").fingerprint
    datasets.DatasetDict({"train": dataset(3)}).save_to_disk(tmp_path / "one")
    assert len(read(tmp_path / "one")) == 3


def test_a_directory_laid_out_like_the_hub(tmp_path: Path) -> None:
    root = tmp_path / "d"
    columns = {"image": [{"bytes": b"i", "path": "a.jpg"}], "question": ["q"]}
    write_parquet(root / "data" / "train-00000-of-00002.parquet", columns)
    write_parquet(root / "data" / "train-00001-of-00002.parquet", columns)
    (root / "README.md").write_text("x")
    source = open_at(root)
    assert (source.format, source.total_rows) == ("hf", 2)
    rows = rows_of(source)
    assert rows[0]["row_id"] == rows[1]["row_id"]
    assert errors(rows) == [None, None]
    write_parquet(root / "data" / "test-00000-of-00001.parquet", columns)
    assert refused(root) == f"{root}: has several splits, test, train; choose one with {root}#SPLIT"
    assert len(read(f"{root}#test")) == 1


def test_damage_keeps_the_rows_before_it(tmp_path: Path) -> None:
    dataset(5).save_to_disk(tmp_path / "d")
    (file,) = (tmp_path / "d").glob("*.arrow")
    with ipc.open_stream(file.read_bytes()) as opened:
        table = opened.read_all()
    with ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 300])
    source = open_at(tmp_path / "d")
    assert source.total_rows is None
    rows = rows_of(source)
    assert [row["image"] for row in rows[:-1]] == [b"i%d" % i for i in range(len(rows) - 1)]
    assert len(rows) == 5
    assert rows[-1]["error_message"].startswith("shard data-00000-of-00001.arrow cannot be read past row 4: ")
    file.write_bytes(b"garbage")
    assert errors(read(tmp_path / "d"))[0] is not None


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text("a")
    assert refused(tmp_path / "x", format="hf").startswith(f"{tmp_path}/x: is not a Hugging Face dataset (no ")
    dataset(0).save_to_disk(tmp_path / "empty")
    assert refused(tmp_path / "empty") == f"{tmp_path}/empty: the input is empty: the dataset has no rows"
    dataset(1).save_to_disk(tmp_path / "d")
    next((tmp_path / "d").glob("*.arrow")).unlink()
    assert "the data files that state.json names are not there" in refused(tmp_path / "d")


def test_names_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("org/name")
    assert is_hub_name("org/name@v1.0#config/train")
    assert not is_hub_name("s3://bucket/name")
    assert not is_hub_name("/data/name")
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert not is_hub_name("org/name")


def test_a_hub_that_cannot_be_reached_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert refused("org/name", format="hf").startswith("org/name: the input cannot be read: ")


def test_a_streamed_dataset(tmp_path: Path) -> None:
    """The path that a hub name takes, with a directory in its place."""
    root = tmp_path / "d"
    for i in range(3):
        columns = {
            "image": [{"bytes": b"i%d" % n, "path": None} for n in range(40)],
            "question": ["q"] * 40,
            "n": [i] * 40,
        }
        write_parquet(root / "data" / f"train-{i:05}-of-00003.parquet", columns)
    config = InputConfig(uri="org/name", keep=("n",))
    contents = open_streamed(config, str(root), "", "", "train")
    assert len(contents.shards) == 3
    source = Source(
        config, "hf", "org/name", contents.shards, contents.passthrough, contents.column_map, None, "", False
    )
    rows = rows_of(source)
    assert len(rows) == 120
    assert sorted({row["n"] for row in rows}) == [0, 1, 2]
    assert source.passthrough == (pa.field("n", pa.int64()),)
    shutil.rmtree(root)
