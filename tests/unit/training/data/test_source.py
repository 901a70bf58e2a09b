from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.readers.inputs import tar_bytes, write_csv, write_jsonl, write_parquet
from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, read_shard
from vqa_ray.readers.source import LABEL
from vqa_ray.training.data.source import TrainingSource, open_caption_source, open_training_source

COMMON = {"image": [b"i", b"j"], "question": ["q", "r"]}
OTHER_LABEL = pa.struct([("weights", pa.list_(pa.float32())), ("ids", pa.list_(pa.large_string()))])
LABELS = [{"ids": ["net"], "weights": [1.0]}, {"ids": ["bag", "net"], "weights": [0.3, 1.0]}]


def opened(uri: Path, truth: str | None = None, auxiliary: tuple[str, ...] = (), **more: Any) -> TrainingSource:
    return open_training_source(InputConfig(str(uri), **more), truth, auxiliary)


def refused(uri: Path, truth: str | None = None, auxiliary: tuple[str, ...] = (), **more: Any) -> str:
    with pytest.raises(RequestError) as caught:
        opened(uri, truth, auxiliary, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{uri}: ")


def truths(source: TrainingSource) -> list[Any]:
    return [
        value
        for shard in source.source.shards
        for table in read_shard(source.labels.for_workers(), shard)
        for value in table[source.truth].to_pylist()
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([["a", "b"], []]), "annotators"),
        (pa.array([["a"], None], pa.large_list(pa.large_string())), "annotators"),
        (pa.array(["a", None]), "answer"),
        (pa.array(["a", "b"]).dictionary_encode(), "answer"),
        (pa.array([3, 4], pa.int8()), "answer"),
        (pa.nulls(2), "answer"),
        (pa.array(LABELS, LABEL), "weighted"),
        (pa.array(LABELS, OTHER_LABEL), "weighted"),
    ],
)
def test_the_kind_of_truth_is_told_from_its_type(tmp_path: Path, values: pa.Array, kind: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", {**COMMON, "said": values})
    source = opened(file, "said")
    assert (source.truth, source.kind, source.answer_type, source.auxiliary) == ("said", kind, None, ())
    assert len(truths(source)) == 2


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pa.array([1.5, 2.0]), "double"),
        (pa.array([True, False]), "bool"),
        (pa.array([[1], [2]]), "list<element: int64>"),
        (pa.array([b"a", b"b"]), "binary"),
        (pa.array([{"ids": ["a"]}, None]), "struct<ids: list<element: string>>"),
        (
            pa.array([{"ids": "a", "weights": 1.0}, None]),
            "struct<ids: string, weights: double>",
        ),
    ],
)
def test_labels_of_the_wrong_type_are_refused(tmp_path: Path, values: pa.Array, told: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", {**COMMON, "answer": values})
    assert refused(file) == (
        f"column 'answer' is {told}; wanted for right answers is list<string> (what each annotator said), string (one "
        "answer) or struct<ids: list<string>, weights: list<double>> (answers and how right they are)"
    )


def test_the_first_column_of_truth_is_taken_and_only_it_is_read(tmp_path: Path) -> None:
    answers = {
        "label": ["x", "y"],
        "answer": ["a", "b"],
        "annotator_answers": [["c"], ["d"]],
        "answer_type": ["o", "o"],
    }
    file = write_parquet(tmp_path / "a.parquet", {**COMMON, **answers, "kind": ["k", None]})
    source = opened(file, auxiliary=("kind",))
    assert (source.truth, source.kind, source.answer_type) == ("annotator_answers", "annotators", "answer_type")
    assert [part.name for part in source.labels.passthrough] == ["annotator_answers", "answer_type", "kind"]
    assert source.images.passthrough == ()
    assert source.images.shards == source.labels.shards
    assert opened(file, "label").truth == "label"
    assert opened(file, columns={"answer": "label"}).truth == "label"
    assert opened(file, columns={"answer_type": "kind"}).answer_type == "kind"


def test_missing_columns_are_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {**COMMON, "price": [1.5, 2.5]})
    there = "the columns are: image, question, price"
    assert refused(file) == (
        "no column with right answers (annotator_answers, answer, label, labels); "
        f"{there}; name it with --truth NAME"
    )  # fmt: skip
    assert refused(file, "said") == f"no column 'said'; {there}"
    assert refused(file, columns={"answer": "said"}) == f"no column 'said'; {there}"
    assert refused(file, "image_id") == "no column 'image_id'; " + there
    file = write_parquet(tmp_path / "b.parquet", {**COMMON, "answer": ["a", "b"], "price": [1.5, 2.5]})
    assert refused(file, auxiliary=("colour",)) == "no column 'colour'; the columns are: image, question, answer, price"
    assert refused(file, auxiliary=("price",)) == (
        "column 'price' is double; wanted is a category: string, integer or boolean"
    )


def test_every_file_must_have_the_truth(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {**COMMON, "answer": ["a", "b"]})
    write_parquet(tmp_path / "b.parquet", COMMON)
    with pytest.raises(RequestError, match=r"^b.parquet: no column 'answer', which other files have; the columns are"):
        opened(tmp_path)


def test_several_questions_a_row_are_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"i"], "questions": [["q", "r"]], "answer": ["a"]})
    assert refused(file) == (
        "column 'questions' holds several questions a row; training wants one question with its answers a row: "
        "unnest it, or name a column of single questions with --column question=NAME"
    )
    assert refused(file, questions=("q", "r")) == "2 questions a row; training wants one"
    assert opened(file, questions=("q",)).truth == "answer"


def test_json_lines_bring_truth_of_every_kind(tmp_path: Path) -> None:
    rows = [
        {"image_uri": "a.jpg", "question": "q", "annotator_answers": ["a", "b"], "answer": 3, "label": LABELS[0]},
        {"image_uri": "b.jpg", "question": "q", "answer": "red", "label": None},
    ]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    assert truths(opened(file)) == [["a", "b"], None]
    assert truths(opened(file, "answer")) == ["3", "red"]
    assert (opened(file, "label").kind, truths(opened(file, "label"))) == ("weighted", [LABELS[0], None])


def test_a_line_whose_truth_does_not_fit_is_a_row_error(tmp_path: Path) -> None:
    rows = [{"image_uri": "a.jpg", "question": "q", "annotator_answers": answers} for answers in (["a"], [1], {})]
    source = opened(write_jsonl(tmp_path / "a.jsonl", [*([rows[0]] * 1_000), *rows[1:]]))
    errors = [
        e for table in read_shard(source.labels, source.source.shards[0]) for e in table["error_message"].to_pylist()
    ]
    assert errors[-2:] == [
        "a.jsonl line 1001: column 'annotator_answers' holds [1] (a list); expected list<item: string>",
        "a.jsonl line 1002: column 'annotator_answers' holds {} (an object); expected list<item: string>",
    ]


def test_cells_bring_text_numbers_and_json(tmp_path: Path) -> None:
    cells = [("a.jpg", "q", "3", '["x", "y"]', json.dumps(LABELS[1])), ("b.jpg", "q", "red", "", "")]
    file = write_csv(tmp_path / "a.csv", ["image_uri", "question", "answer", "said", "label"], cells)
    assert truths(opened(file)) == ["3", "red"]
    assert (opened(file, "said").kind, truths(opened(file, "said"))) == ("annotators", [["x", "y"], None])
    assert (opened(file, "label").kind, truths(opened(file, "label"))) == ("weighted", [LABELS[1], None])
    named = opened(file, columns={"annotator_answers": "said"})
    assert (named.truth, named.kind) == ("said", "annotators")


def test_sidecars_bring_truth(tmp_path: Path) -> None:
    members = [("a.jpg", b"i"), ("a.json", b'{"question": "q"}'), ("a.answer", b"dog\n")]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    assert truths(opened(tmp_path / "a.tar")) == ["dog"]


def test_the_official_files_bring_annotators_and_types(tmp_path: Path) -> None:
    question = {"question_id": 1, "image_id": 7, "question": "what?"}
    said = [{"answer": "dog"}] * 9 + [{"answer": "cat"}]
    annotation = {"question_id": 1, "image_id": 7, "answers": said, "answer_type": "other"}
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "7.jpg").write_bytes(b"i")
    file = tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json"
    file.write_text(json.dumps({"questions": [question]}))
    assert refused(file).startswith(f"annotator_answers needs the annotations file, which is not at {tmp_path}/")
    (tmp_path / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": [annotation]}))
    source = opened(file)
    assert (source.truth, source.answer_type) == ("annotator_answers", "answer_type")
    assert truths(source) == [["dog"] * 9 + ["cat"]]
    # Trained on without the annotations, which need not be read again.
    (tmp_path / "v2_mscoco_val2014_annotations.json").unlink()
    (table,) = read_shard(source.images, source.source.shards[0])
    assert table["questions"].to_pylist() == [["what?"]]


def test_image_files_alone_teach_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"i")
    assert refused(tmp_path, questions=("q",)) == (
        "the image files lie in no folders whose names could be their answers; wanted DIRECTORY/ANSWER/*.jpg, or a "
        "metadata.csv beside them with the columns file_name and answer"
    )


@pytest.mark.parametrize(
    "values", [pa.array(["a dog", None]), pa.array([["a dog", "a pup"], []]), pa.array([[], None], pa.list_(pa.null()))]
)
@pytest.mark.parametrize("name", ["caption", "captions", "said"])
def test_captions_are_found(tmp_path: Path, values: pa.Array, name: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": COMMON["image"], name: values})
    columns = {"caption": "said"} if name == "said" else {}
    source = open_caption_source(InputConfig(str(file), columns=columns))
    assert (source.truth, source.kind, source.captions) == (name, "captions", name)
    # They are read with the images as well as without.
    assert source.images.config.labels == source.labels.config.labels == (name,)
    assert len(truths(source)) == 2


def test_categories_beside_captions(tmp_path: Path) -> None:
    columns = {"image": COMMON["image"], "caption": ["a dog", "a cat"], "kind": ["toy", None], "price": [0.5, 1.5]}
    config = InputConfig(str(write_parquet(tmp_path / "a.parquet", columns)))
    source = open_caption_source(config, ("kind",))
    assert (source.auxiliary, source.labels.config.labels) == (("kind",), ("caption", "kind"))
    # What is trained on brings captions alone: the plan has the categories.
    assert source.images.config.labels == ("caption",)
    with pytest.raises(RequestError, match="no column 'colour'; the columns are: image, caption, kind, price"):
        open_caption_source(config, ("colour",))
    with pytest.raises(RequestError, match="column 'price' is double; wanted is a category: string, integer or bool"):
        open_caption_source(config, ("price",))


def test_captions_beside_images_in_a_tar(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(tar_bytes([("1.jpg", b"i"), ("1.txt", b"a dog"), ("2.jpg", b"j"), ("2.txt", b"a cat")]))
    source = open_caption_source(InputConfig(str(file), columns={"caption": "txt"}))
    assert truths(source) == ["a dog", "a cat"]


@pytest.mark.parametrize(
    ("columns", "given", "told"),
    [
        ({}, {}, "no column 'caption' with captions; the columns are: image"),
        ({}, {"caption": "said"}, "no column 'said' with captions"),
        ({"caption": [1, 2]}, {}, "column 'caption' is int64; wanted is string, or list<string>"),
        ({"caption": [[1], [2]]}, {}, "wanted is string, or list<string>: several captions of an image"),
    ],
)
def test_inputs_without_captions_are_refused(
    tmp_path: Path, columns: dict[str, Any], given: dict[str, str], told: str
) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": COMMON["image"], **columns})
    with pytest.raises(RequestError) as caught:
        open_caption_source(InputConfig(str(file), columns=given))
    assert told in str(caught.value)


def test_class_folders_bring_answers(tmp_path: Path) -> None:
    for name in ("mug/a.jpg", "T-Shirt/b.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    source = opened(tmp_path, questions=("what is it?",))
    assert (source.truth, source.kind) == ("label", "answer")
    assert truths(source) == ["T-Shirt", "mug"]
    assert source.images.passthrough == ()
    assert "ask every image with --question TEXT" in refused(tmp_path)
    assert "in no folders whose names could be their answers" in refused(tmp_path / "mug", questions=("what is it?",))


def test_a_table_of_captions_is_pointed_at_the_other_task(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "metadata.csv", ["file_name", "text"], [["a.jpg", "a mug"]])
    assert refused(file, questions=("what?",)).endswith("captions are learnt with --task contrastive")
    assert open_caption_source(InputConfig(str(file))).truth == "text"
