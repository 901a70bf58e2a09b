from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.unit.readers.inputs import write_jsonl, write_parquet
from vqa_ray.readers import InputConfig, read_shard
from vqa_ray.readers.source import LABEL
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.row_schema import LABELS
from vqa_ray.training.data.source import (
    TrainingSource,
    open_caption_source,
    open_conversation_source,
    open_training_source,
)
from vqa_ray.training.stages.extract_labels import ExtractLabels


def index(source: TrainingSource) -> list[pa.Table]:
    stage = pickle.loads(pickle.dumps(ExtractLabels(source.for_workers())))
    tables = [read_shard(source.labels.for_workers(), shard) for shard in source.source.shards]
    return [stage(table) for part in tables for table in part]


def rows_of(file: Path, *arguments: Any, **more: Any) -> list[dict[str, Any]]:
    (table,) = index(open_training_source(InputConfig(str(file), **more), *arguments))
    assert table.schema.equals(LABELS)
    table.validate(full=True)
    return list(table.to_pylist())


def test_annotators_types_and_categories(tmp_path: Path) -> None:
    columns = {
        "image": [b"one", b"two", b"one"],
        "question": ["q", "r", " s "],
        "annotator_answers": [["a", None, " "], None, ["b", "c"]],
        "answer_type": ["other", " ", None],
        "count": [1, None, 3],
        "worn": [True, False, None],
    }
    rows = rows_of(write_parquet(tmp_path / "a.parquet", columns), None, ("count", "worn"))
    assert [row["source_key"] for row in rows] == [0, 1, 2]
    assert [row["question"] for row in rows] == ["q", "r", "s"]
    assert [row["answers"] for row in rows] == [["a"], [], ["b", "c"]]
    assert [row["weights"] for row in rows] == [None] * 3
    assert [row["answer_type"] for row in rows] == ["other", None, None]
    assert [row["auxiliary"] for row in rows] == [["1", "true"], [None, "false"], ["3", None]]
    assert rows[0]["image_key"] == rows[2]["image_key"] != rows[1]["image_key"]


def test_of_a_conversation_the_last_answer_counts_and_one_without_images_is_its_own(tmp_path: Path) -> None:
    said = [["<image>\nwhat?", "a dog", "red?", "no"], ["where?", "here"], ["where?", "here"]]
    lines = [
        {
            "conversations": [{"from": ("human", "gpt")[at % 2], "value": text} for at, text in enumerate(texts)],
            **({"image": "a.jpg"} if "<image>" in texts[0] else {}),
        }
        for texts in said
    ]
    (table,) = index(open_conversation_source(InputConfig(str(write_jsonl(tmp_path / "a.jsonl", lines)))))
    rows = table.to_pylist()
    assert [(row["question"], row["answers"]) for row in rows] == [("red?", ["no"]), *[("where?", ["here"])] * 2]
    assert len({row["image_key"] for row in rows}) == 3
    assert [row["status"] for row in rows] == ["ok"] * 3


def test_single_answers_are_one_annotator_each(tmp_path: Path) -> None:
    columns = {"image": [b"i"] * 4, "question": ["q"] * 4, "answer": ["red", None, "  ", "7"]}
    rows = rows_of(write_parquet(tmp_path / "a.parquet", columns))
    assert [row["answers"] for row in rows] == [["red"], [], [], ["7"]]
    numbers = {**columns, "answer": pa.array([1, 2, None, 3], pa.uint8())}
    rows = rows_of(write_parquet(tmp_path / "b.parquet", numbers))
    assert [row["answers"] for row in rows] == [["1"], ["2"], [], ["3"]]


def test_labels_keep_their_weights_and_must_go_together(tmp_path: Path) -> None:
    labels = [
        {"ids": ["net", "bag"], "weights": [1.0, 0.3]},
        {"ids": [], "weights": []},
        None,
        {"ids": ["net"], "weights": []},
        {"ids": ["net"], "weights": [None]},
    ]
    columns = {"image": [b"i"] * 5, "question": ["q"] * 4 + [None], "label": pa.array(labels, LABEL)}
    rows = rows_of(write_parquet(tmp_path / "a.parquet", columns))
    assert [row["answers"] for row in rows] == [["net", "bag"], [], [], [], []]
    assert [row["weights"] for row in rows] == [[1.0, 0.3], [], [], [], []]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error", "error"]
    assert [row["error_message"] for row in rows[3:]] == [
        "column 'label' has 1 ids and 0 weights; wanted is one weight for each id",
        "question in column 'question' is null",
    ]
    assert rows[3]["error_code"] == "row_malformed"


def test_images_are_the_same_where_their_names_are(tmp_path: Path) -> None:
    lines = [{"image_uri": uri, "question": "q", "answer": "a"} for uri in ("a.jpg", "./a.jpg", "b.jpg")]
    rows = rows_of(write_jsonl(tmp_path / "a.jsonl", [*lines, b"no json\n"]))
    assert rows[0]["image_key"] == rows[1]["image_key"] != rows[2]["image_key"]
    assert (rows[3]["status"], rows[3]["image_key"], rows[3]["answers"]) == ("error", None, [])


def test_an_index_of_several_shards_is_gathered(tmp_path: Path) -> None:
    for name in "abc":
        columns = {"image": [name.encode()] * 300, "question": ["q"] * 300, "answer": [name] * 300}
        write_parquet(tmp_path / f"{name}.parquet", columns)
    tables = index(open_training_source(InputConfig(str(tmp_path))))
    rows = LabelledRows.from_tables(reversed(tables))
    assert len(rows) == 900
    assert rows.answers.to_pylist() == [[name] for name in "abc" for _ in range(300)]
    assert len(set(rows.image_keys.tolist())) == 3


def test_captions_need_no_question_and_blank_ones_are_none(tmp_path: Path) -> None:
    columns = {"image": [b"one", b"two", b"three"], "caption": [["a dog", " "], None, ["a cat", "a black cat"]]}
    (table,) = index(open_caption_source(InputConfig(str(write_parquet(tmp_path / "a.parquet", columns)))))
    assert table.schema.equals(LABELS)
    assert table["answers"].to_pylist() == [["a dog"], [], ["a cat", "a black cat"]]
    assert table["question"].to_pylist() == [None] * 3
    assert table["status"].to_pylist() == ["ok"] * 3
    rows = LabelledRows.from_tables([table])
    assert rows.unanswered == 1
    assert set(rows.answer_types.to_pylist()) == {"caption"}
    rows.save(str(tmp_path / "rows.parquet"))
    assert LabelledRows.load(str(tmp_path / "rows.parquet")).answers.equals(rows.answers)


def test_columns_of_truth_may_be_called_as_ours_are(tmp_path: Path) -> None:
    columns = {
        "image": [b"one", b"two"],
        "question": ["q", "r"],
        "status": ["new", None],
        "turns": ["left", "right"],
        "kept:status": ["x", "y"],
    }
    rows = rows_of(write_parquet(tmp_path / "a.parquet", columns), "status", ("turns", "kept:status"))
    assert [row["answers"] for row in rows] == [["new"], []]
    assert [row["auxiliary"] for row in rows] == [["left", "x"], ["right", "y"]]
    assert [row["status"] for row in rows] == ["ok", "ok"]
