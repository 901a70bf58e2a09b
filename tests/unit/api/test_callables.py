"""Callables: every form of batch in and out, rows and columns kept, errors in their rows."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

import vqa_ray
from tests.helpers.coloured import COLOURS, NAMES, picture
from vqa_ray import RequestError, schema

COLOUR, DOG = "what colour is it?", "is there a dog?"
RESULT = ["answer", "answer_score", "answers", "finish_reason", "status", "error_code", "error_message", "warning"]


def batch(count: int = 4) -> pa.Table:
    columns = {
        "sku": list(range(count)),
        "image": [picture(number) for number in range(count)],
        "question": [COLOUR] * count,
    }
    return pa.table(columns)


def pixels(name: str) -> np.ndarray:
    return np.full((30, 40, 3), COLOURS[name], np.uint8)


def test_a_table_comes_back_with_its_own_columns_first() -> None:
    given = batch()
    answered = vqa_ray.Answer("fake:")(given)
    assert answered.column_names == [*given.column_names, *RESULT]
    assert answered.select(given.column_names).equals(given)
    assert answered["answer"].to_pylist() == list(NAMES)
    assert all(answered.schema.field(name).equals(schema.ANSWER.field(name)) for name in RESULT)


@pytest.mark.parametrize("form", ["record batch", "pandas", "arrays", "lists"])
def test_what_comes_in_goes_out(form: str) -> None:
    table = batch()
    frame = table.to_pandas().set_axis(list("abcd"))
    given: Any = {
        "record batch": table.to_batches()[0],
        "pandas": frame,
        "arrays": {name: np.array(table[name].to_pylist(), object) for name in table.column_names},
        "lists": table.to_pydict(),
    }[form]
    answered = vqa_ray.Answer("fake:")(given)
    assert type(answered) is type(given)
    names = answered.schema.names if isinstance(answered, pa.RecordBatch) else list(answered)
    assert names == [*table.column_names, *RESULT]
    answers = answered["answer"].to_pylist() if isinstance(answered, pa.RecordBatch) else list(answered["answer"])
    assert answers == list(NAMES)
    if form == "pandas":
        assert list(answered.index) == list("abcd")
        assert answered["answers"].iloc[0][0]["answer"] == "red"
    if form == "lists":
        assert all(isinstance(values, list) for values in answered.values())
    # Nothing of the batch itself has changed.
    assert len(given.schema.names if isinstance(given, pa.RecordBatch) else list(given)) == 3


def test_an_iterator_of_batches_gives_an_iterator() -> None:
    answer = vqa_ray.Answer("fake:")
    found = answer(iter(batch(6).to_batches(max_chunksize=4)))
    assert [(type(each), each.num_rows) for each in found] == [(pa.RecordBatch, 4), (pa.RecordBatch, 2)]


def test_rows_that_fail_stay_in_their_place() -> None:
    given = pa.table(
        {
            "image": [picture(0), b"no image", None, picture(1)],
            "question": [COLOUR, COLOUR, COLOUR, " "],
        }
    )
    answered = vqa_ray.Answer("fake:")(given)
    assert answered["status"].to_pylist() == ["ok", "error", "error", "error"]
    assert answered["error_code"].to_pylist() == [None, "image_undecodable", "image_missing", "question_missing"]
    assert answered["answer"].to_pylist() == ["red", None, None, None]


def test_several_questions_give_a_row_each_or_a_list() -> None:
    given = batch(2).drop_columns("question").append_column("image_id", [["a", "b"]])
    questions = [COLOUR, DOG]
    answered = vqa_ray.Answer("fake:", questions)(given)
    assert answered["sku"].to_pylist() == [0, 0, 1, 1]
    assert answered["question"].to_pylist() == questions * 2
    assert answered["question_index"].to_pylist() == [0, 1, 0, 1]
    frame = vqa_ray.Answer("fake:", questions)(given.to_pandas())
    assert frame["answer"].tolist() == answered["answer"].to_pylist()
    lists = vqa_ray.Answer("fake:", questions)(given.to_pydict())
    assert lists["sku"] == [0, 0, 1, 1]
    nested = vqa_ray.Answer("fake:", questions, nested=True)(given)
    assert nested.num_rows == 2
    assert [[each["question"] for each in cell] for cell in nested["results"].to_pylist()] == [questions] * 2


def test_rows_may_bring_lists_of_questions() -> None:
    given = batch(2).drop_columns("question").append_column("questions", [[[COLOUR], [COLOUR, DOG]]])
    assert vqa_ray.Answer("fake:")(given)["question"].to_pylist() == [COLOUR, COLOUR, DOG]


def test_one_question_for_all_keeps_the_rows() -> None:
    answered = vqa_ray.Answer("fake:", COLOUR)(batch().drop_columns("question"))
    assert answered.column_names == ["sku", "image", "question", *RESULT]
    assert answered.num_rows == 4


def test_images_may_be_references_structs_arrays_tensors_or_pil_images(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        (tmp_path / f"{name}.jpg").write_bytes(picture(number))
    paths = [str(tmp_path / f"{name}.jpg") for name in NAMES]
    arrays = [pixels(name) for name in NAMES]
    columns = {
        "uri": {"image_uri": paths},
        "path": {"image": paths},
        "struct": {
            "image": [{"bytes": picture(0), "path": None}, *({"bytes": None, "path": path} for path in paths[1:])]
        },
        "mixed": {"image": [picture(0), arrays[1], Path(paths[2]), Image.fromarray(arrays[3])]},
        "stack": {"image": np.stack(arrays)},
        "objects": {"image": np.array([*arrays, None], object)[:4]},
    }
    answer = vqa_ray.Answer("fake:", COLOUR)
    for kind, given in columns.items():
        assert list(answer(given)["answer"]) == list(NAMES), kind
    tensors = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack(arrays))})
    assert answer(tensors)["answer"].to_pylist() == list(NAMES)
    assert list(answer(pd.DataFrame({"image": arrays}))["answer"]) == list(NAMES)


def test_tensors_of_ray_are_images() -> None:
    from ray.data.extensions import ArrowTensorArray, ArrowVariableShapedTensorArray

    arrays = [pixels(name) for name in NAMES]
    answer = vqa_ray.Answer("fake:", COLOUR)
    same = pa.table({"image": ArrowTensorArray.from_numpy(np.stack(arrays))})
    different = [arrays[0], arrays[1][:20], arrays[2], arrays[3]]
    varied = pa.table({"image": ArrowVariableShapedTensorArray.from_numpy(np.array([*different, None], object)[:4])})
    for given in (same, varied):
        assert answer(given)["answer"].to_pylist() == list(NAMES)


def test_relative_references_are_below_the_image_root(tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(picture(0))
    given = {"image_uri": ["red.jpg", "../red.jpg"]}
    answered = vqa_ray.Answer("fake:", COLOUR, image_root=str(tmp_path))(given)
    assert answered["answer"] == ["red", None]
    assert answered["error_code"][1] == "image_fetch_failed"


def test_relative_references_keep_their_place_in_another_process(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "red.jpg").write_bytes(picture(0))
    monkeypatch.chdir(tmp_path)
    plain, rooted = vqa_ray.Answer("fake:", COLOUR), vqa_ray.Answer("fake:", COLOUR, image_root=".")
    monkeypatch.chdir("/")
    for answer in (plain, rooted):
        assert pickle.loads(pickle.dumps(answer))({"image_uri": ["red.jpg"]})["answer"] == ["red"]


def test_columns_may_have_other_names() -> None:
    given = batch().rename_columns(["sku", "photo", "prompt"])
    answered = vqa_ray.Answer("fake:", columns={"image": "photo", "question": "prompt"})(given)
    assert answered.column_names == ["sku", "photo", "prompt", *RESULT]
    assert answered["answer"].to_pylist() == list(NAMES)


def test_names_that_are_taken_are_refused_and_may_be_prefixed() -> None:
    given = batch().append_column("answer", [list("abcd")])
    with pytest.raises(RequestError, match=r"columns of these names already: answer; .* prefix='…'"):
        vqa_ray.Answer("fake:")(given)
    answered = vqa_ray.Answer("fake:", prefix="vqa_")(given)
    assert answered.column_names == [*given.column_names, *(f"vqa_{name}" for name in RESULT)]
    tagged = vqa_ray.Tag("fake:", TAXONOMY, prefix="tag_")(answered)
    assert tagged["tag_colour"].to_pylist()[:1] == ["red"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["sku", "photo", "question"], r"no column 'image' or 'image_uri'; .* columns=\{'image_uri': 'NAME'\}"),
        (["sku", "image", "prompt"], r"columns=\{'question': 'NAME'\}, or ask every image with questions=\[…\]"),
    ],
)
def test_a_missing_column_is_refused_in_the_words_of_python(names: list[str], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        vqa_ray.Answer("fake:")(batch().rename_columns(names))


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(RequestError, match="a batch of type list; wanted is a pyarrow Table"):
        vqa_ray.Answer("fake:")([1])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: vqa_ray.Answer("fake:", []), "questions is empty"),
        (lambda: vqa_ray.Answer("fake:", top_k=101), "top_k is 101"),
        (lambda: vqa_ray.Answer("fake:", batch_size=0), "batch_size is 0"),
        (lambda: vqa_ray.Tag("fake:", {"attributes": 1}), "taxonomy: attributes"),
        (lambda: vqa_ray.Tag("fake:", "listing-check"), "taxonomy: a question names the column {title}"),
        (lambda: vqa_ray.Retrieve("fake:", '"is there a dog?" und'), "und"),
    ],
)
def test_wrong_arguments_are_refused_at_once(make: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        make()


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="batchsize"):
        vqa_ray.Answer("fake:", batchsize=3)  # type: ignore[call-arg]


def test_a_model_that_cannot_do_it_is_refused_by_the_first_batch() -> None:
    with pytest.raises(RequestError, match="does not caption"):
        vqa_ray.Caption("bundled:catalog-vilt")(batch())
    with pytest.raises(RequestError, match=r"taxonomy: attribute 'x': .* cannot answer 'xylophone'"):
        vqa_ray.Tag(
            "bundled:catalog-vilt", {"attributes": [{"name": "x", "question": DOG, "choices": ["xylophone", "no"]}]}
        )(batch())
    with pytest.raises(RequestError, match=r"columns=\{'context': 'sku'\}: .* answers each question by itself"):
        vqa_ray.Answer("bundled:catalog-vilt", columns={"context": "sku"})(batch())
    with pytest.raises(RequestError, match="where: model bundled:catalog-vilt cannot answer 'xylophone'"):
        vqa_ray.Retrieve("bundled:catalog-vilt", '"what is it?" = "xylophone"')(batch())


TAXONOMY = {"attributes": [{"name": "colour", "question": COLOUR, "choices": list(NAMES)}]}


def test_every_callable_keeps_rows_and_columns() -> None:
    given = batch(3).drop_columns("question").append_column("note", [["x", None, "z"]])
    broken = given.set_column(1, "image", [[picture(0), b"no image", picture(2)]])
    made = {
        "Tag": vqa_ray.Tag("fake:", TAXONOMY),
        "Caption": vqa_ray.Caption("fake:"),
        "Embed": vqa_ray.Embed("fake:"),
        "Retrieve": vqa_ray.Retrieve("fake:", f'"{COLOUR}" = "red"'),
    }
    first = {"Tag": "tags", "Caption": "caption", "Embed": "embedding", "Retrieve": "match"}
    for name, callable_ in made.items():
        found = callable_(broken)
        assert found.select(broken.column_names).equals(broken), name
        assert found["status"].to_pylist() == ["ok", "error", "ok"], name
        assert found["error_code"].to_pylist()[1] == "image_undecodable", name
        added = found.column_names[len(broken.column_names) :]
        assert added[0] == first[name]
    assert made["Retrieve"](broken)["match"].to_pylist() == [True, None, False]
    embedded = made["Embed"]({"image": [picture(0), b""]})
    assert embedded["embedding"][1] is None
    matrix = made["Embed"]({"image": np.array([picture(0), b""], object)})["embedding"]
    assert np.isnan(matrix[1]).all()
    assert np.linalg.norm(matrix[0]) == pytest.approx(1)
    assert vqa_ray.Embed("fake:", thumbnails=True)(given)["thumbnail"].null_count == 0


def test_an_empty_batch_has_the_same_columns() -> None:
    answer = vqa_ray.Answer("fake:")
    assert answer(batch().slice(0, 0)).schema.equals(answer(batch()).schema)
    assert list(answer(batch().to_pandas().iloc[:0])) == list(answer(batch().to_pandas()))


def test_batches_are_cut_for_the_model() -> None:
    answered = vqa_ray.Answer("fake:", batch_size=3)(batch(10))
    assert answered["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(10)]


def test_a_callable_pickles_small_and_alike_before_and_after_it_has_loaded() -> None:
    answer = vqa_ray.Answer("bundled:catalog-vilt", COLOUR)
    before = pickle.dumps(answer)
    found = answer(batch().drop_columns("question"))
    assert pickle.dumps(answer) == before
    assert len(before) < 2_000
    again = pickle.loads(before)
    assert again(batch().drop_columns("question")).equals(found)


def test_rows_of_the_bundled_model_are_those_of_its_objects() -> None:
    given = batch(4)
    rows = vqa_ray.Answer("bundled:catalog-vilt", dtype="float32")(given).to_pylist()
    results = vqa_ray.load("bundled:catalog-vilt", dtype="float32").answer(given["image"].to_pylist(), COLOUR)
    for row, result in zip(rows, results, strict=True):
        assert isinstance(result, vqa_ray.AnswerResult)
        assert (row["answer"], row["warning"]) == (result.text, result.warning)
        assert row["answer_score"] == pytest.approx(result.score, abs=1e-6)
        assert [each["answer"] for each in row["answers"][1:]] == [text for text, _ in result.alternatives]


def test_datasets_map_keeps_what_it_does_not_look_at(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    table = batch()
    features = Features({"sku": Value("int64"), "image": ImageFeature(), "question": Value("string")})
    rows = {**table.to_pydict(), "image": [{"bytes": data, "path": None} for data in table["image"].to_pylist()]}
    given = Dataset.from_dict(rows, features=features)
    answered = given.map(vqa_ray.Answer("fake:"), batched=True, batch_size=3)
    assert answered["answer"][:] == list(NAMES)
    assert answered.features["image"] == ImageFeature()
    stored = answered.data["image"].to_pylist()
    assert [each["bytes"] for each in stored] == table["image"].to_pylist()
    # The same callable again: nothing is computed twice.
    assert given.map(vqa_ray.Answer("fake:"), batched=True, batch_size=3)._fingerprint == answered._fingerprint
