"""Labels of Hugging Face data sets that are integers with names are read by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, read_shard
from vqa_ray.readers.formats.hf import open_streamed
from vqa_ray.schema import STATUS_ERROR
from vqa_ray.training.data.source import TrainingSource, open_training_source

NAMES = ["cat", "dog"]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def dataset(names: list[str] = NAMES, several: bool = False) -> datasets.Dataset:
    """Four rows: cat, dog, unknown, none; or lists of classes."""
    classes = datasets.ClassLabel(names=names)
    values: list[Any] = [[0, 1], [1], [-1], None] if several else [0, 1, -1, None]
    images = [{"bytes": b"i%d" % i, "path": f"{i}.jpg"} for i in range(4)]
    made = datasets.Dataset.from_dict({"image": images, "question": ["q"] * 4, "label": values, "kind": [0, 1, 1, 0]})
    wanted: Any = datasets.Sequence(classes) if several else classes
    return made.cast_column("image", datasets.Image(decode=False)).cast_column("label", wanted)


def opened(uri: Path, **more: Any) -> TrainingSource:
    return open_training_source(InputConfig(str(uri), **more))


def truths(source: TrainingSource) -> list[Any]:
    shards = source.source.shards
    tables = [table for shard in shards for table in read_shard(source.labels.for_workers(), shard)]
    return pa.concat_tables(tables)["label"].to_pylist()


@pytest.mark.parametrize("kind", ["saved", "parquet"])
@pytest.mark.parametrize("several", [False, True])
def test_classes_are_learnt_by_their_names(tmp_path: Path, kind: str, several: bool) -> None:
    made = dataset(several=several)
    if kind == "saved":
        made.save_to_disk(tmp_path / "d")
    else:
        (tmp_path / "d").mkdir()
        made.to_parquet(tmp_path / "d" / "rows.parquet")
    source = opened(tmp_path / "d")
    assert source.kind == ("annotators" if several else "answer")
    assert truths(source) == ([["cat", "dog"], ["dog"], [None], None] if several else ["cat", "dog", None, None])


def test_a_data_set_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset().to_iterable_dataset()
    monkeypatch.setattr("vqa_ray.readers.formats.hf._stream", lambda *_: made)
    contents = open_streamed(InputConfig("org/name", labels=("label",)), "org/name", "r", "default", "train")
    assert [part.type for part in contents.passthrough] == [pa.string()]


def test_a_class_without_a_name_is_an_error_of_its_row(tmp_path: Path) -> None:
    table = dataset().data.table.combine_chunks()
    at = table.schema.get_field_index("label")
    wrong = table.set_column(at, table.schema.field(at), pa.array([0, 7, 1, None], pa.int64()))
    pa.parquet.write_table(wrong, tmp_path / "rows.parquet")
    source = opened(tmp_path / "rows.parquet")
    (table,) = read_shard(source.labels, source.source.shards[0])
    assert table["label"].to_pylist() == ["cat", None, "dog", None]
    assert [status == STATUS_ERROR for status in table["status"].to_pylist()] == [False, True, False, False]


def test_files_that_name_classes_differently_are_refused(tmp_path: Path) -> None:
    dataset().to_parquet(tmp_path / "a.parquet")
    dataset(["dog", "cat"]).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(RequestError, match="column 'label': files give its integers different names: cat, dog; dog"):
        opened(tmp_path)


def test_kept_columns_and_other_integers_stay_as_they_are(tmp_path: Path) -> None:
    from vqa_ray.readers import open_source

    dataset().to_parquet(tmp_path / "rows.parquet")
    source = open_source(InputConfig(str(tmp_path), keep=("label", "kind")))
    assert [part.type for part in source.passthrough] == [pa.int64(), pa.int64()]
