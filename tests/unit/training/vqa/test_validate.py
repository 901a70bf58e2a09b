"""Validation: every row answered once, and the same metrics however the answers were gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.tiny import ANSWERS, tiny_model
from tests.unit.training.tables import cut_at, failed_row, row_of, table_of
from vqa_ray.errors import RunError
from vqa_ray.evaluation.vqa_accuracy import JudgedAnswer, vqa_accuracy
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.text import canonical
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.validation import UNANSWERED
from vqa_ray.training.vqa.trainer import VqaTrainer
from vqa_ray.training.vqa.validate import RESULTS, confusion, metrics_of, validate

QUESTIONS = ("what is this?", "is there a dog in the picture?", "what colour is it?")
SIZES = [(32, 40), (40, 32), (32, 32)]


def labelled(answers: list[list[str]], weights: list[list[float]] | None = None) -> LabelledRows:
    count = len(answers)
    kinds = [("yes/no", "number", "other")[row % 3] for row in range(count)]
    return LabelledRows(
        keys=np.arange(count, dtype=np.int64) * 3,
        image_keys=np.arange(count, dtype=np.int64),
        questions=pa.array([QUESTIONS[0]] * count, pa.string()),
        answers=pa.array(answers, pa.list_(pa.string())),
        answer_types=pa.array(kinds, pa.string()),
        weights=None if weights is None else pa.array(weights, pa.list_(pa.float64())),
    )


def results_of(given: list[str | None]) -> pa.Table:
    """Results of the rows of `labelled`; None is an image that could not be decoded."""
    rows = [
        {"source_key": row * 3, "status": "error", "error_code": "image_missing"}
        if answer is None
        else {"source_key": row * 3, "loss": row + 0.5, "answer": answer, "answer_score": 0.5, "status": "ok"}
        for row, answer in enumerate(given)
    ]
    return pa.Table.from_pylist(rows, RESULTS)


@pytest.fixture(scope="module")
def trainer() -> VqaTrainer:
    model, _ = tiny_model()
    return VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)


def validation_table() -> pa.Table:
    rows: list[dict[str, Any]] = []
    for key in range(23):
        labels = [key % 6] if key % 4 else []
        more = {"label_ids": labels, "label_weights": [0.6] * len(labels)}
        rows.append(row_of(key, 0, SIZES[key % 3], QUESTIONS[key % 2], **more))
    return table_of([*rows[:5], failed_row(50), *rows[5:], failed_row(51, 0, "image_too_large")])


def test_every_row_is_answered_as_the_stock_model_answers_it(trainer: VqaTrainer) -> None:
    model, tokenizer = tiny_model()
    table = validation_table()
    results = validate(cut_at(table, [3, 9, 9]), trainer, question_tokenizer(tokenizer), ANSWERS)
    assert results.schema.equals(RESULTS)
    assert sorted(results["source_key"].to_pylist()) == sorted(table["source_key"].to_pylist())
    found = {row["source_key"]: row for row in results.to_pylist()}
    for row in table.to_pylist():
        result = found[row["source_key"]]
        if row["pixels"] is None:
            assert (result["loss"], result["answer"], result["answer_score"]) == (None, None, None)
            assert [result[name] for name in ("status", "error_code", "error_message")] == [
                row[name] for name in ("status", "error_code", "error_message")
            ]
            continue
        assert (result["status"], result["error_code"], result["error_message"]) == ("ok", None, None)
        image = np.frombuffer(bytearray(row["pixels"]), np.uint8).reshape(row["height"], row["width"], 3)
        pixels = ((torch.from_numpy(image) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
        targets = torch.zeros(1, len(ANSWERS))
        targets[0, row["label_ids"]] = 0.6
        with torch.no_grad():
            stock = model(
                **tokenizer(row["questions"][0], return_tensors="pt"),
                pixel_values=pixels,
                pixel_mask=torch.ones(1, *pixels.shape[2:], dtype=torch.long),
                labels=targets,
            )
        assert result["loss"] == pytest.approx(stock.loss.item(), rel=1e-4)
        assert result["answer"] == ANSWERS[stock.logits.argmax()]
        assert result["answer_score"] == pytest.approx(stock.logits.max().sigmoid().item(), abs=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(25)), st.lists(st.integers(0, 30), max_size=4))
def test_results_do_not_depend_on_cuts_or_order(trainer: VqaTrainer, order: list[int], places: list[int]) -> None:
    tokenize = question_tokenizer(tiny_model()[1])
    table = validation_table()
    whole = validate([table], trainer, tokenize, ANSWERS).sort_by("source_key")
    parts = [validate([part], trainer, tokenize, ANSWERS) for part in cut_at(table.take(order), places)]
    pieces = pa.concat_tables(parts).sort_by("source_key")
    for name in ("source_key", "answer", "status", "error_code", "error_message"):
        assert pieces[name].equals(whole[name]), name
    for name in ("loss", "answer_score"):
        ours, theirs = (t[name].to_numpy(zero_copy_only=False) for t in (pieces, whole))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_no_rows_give_no_results(trainer: VqaTrainer) -> None:
    tokenize = question_tokenizer(tiny_model()[1])
    assert validate([], trainer, tokenize, ANSWERS).equals(RESULTS.empty_table())
    assert validate([table_of([])], trainer, tokenize, ANSWERS).equals(RESULTS.empty_table())


WORDS = st.sampled_from(["yes", "no", "2", "red", "Two", "the dog", "blue."])


def spelt(answer: str, truth: list[str]) -> str:
    return next((said for said in truth if canonical(said) == canonical(answer)), answer)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_metrics_are_the_official_ones_in_any_order_and_cut(data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.lists(WORDS, min_size=1, max_size=10), min_size=1, max_size=12))
    given_answers = data.draw(st.lists(WORDS | st.none(), min_size=len(answers), max_size=len(answers)))
    if all(answer is None for answer in given_answers):
        given_answers[0] = "yes"
    rows, results = labelled(answers), results_of(given_answers)
    found = metrics_of(results, rows)
    judged = [
        # An answer of the vocabulary is judged as an annotator spelt it.
        (row, JudgedAnswer(spelt(answer, answers[row]), answers[row], rows.answer_types[row].as_py()))
        for row, answer in enumerate(given_answers)
        if answer is not None
    ]
    official = vqa_accuracy(each for _, each in judged)
    assert found.accuracy == pytest.approx(official.overall)
    assert found.by_type == pytest.approx(official.by_type)
    assert found.rows_by_type == official.n_by_type
    assert found.loss == pytest.approx(np.mean([row + 0.5 for row, _ in judged]))
    assert found.rows == len(judged)
    skipped = given_answers.count(None)
    assert found.skipped == ({"image_missing": skipped} if skipped else {})

    order = data.draw(st.permutations(range(len(answers))))
    cuts = data.draw(st.lists(st.integers(0, 12), max_size=3))
    shuffled = pa.concat_tables(cut_at(results.take(order), cuts))
    assert metrics_of(shuffled, rows) == found
    labels, counts = confusion(results, rows, 3)
    again, same = confusion(shuffled, rows, 3)
    assert again == labels
    np.testing.assert_array_equal(same, counts)


def test_rows_without_right_answers_are_told_and_left_out() -> None:
    found = metrics_of(results_of(["yes", "no", None]), labelled([["yes"], [], ["no"]]))
    assert (found.rows, found.accuracy, found.loss) == (1, 1.0, 0.5)
    assert found.skipped == {"image_missing": 1, UNANSWERED: 1}


def test_given_weights_are_the_accuracy() -> None:
    rows = labelled([["Net", "pitcher"], ["red"], ["blue", "green"]], [[1.0, 0.3], [0.9], [0.6, 0.3]])
    found = metrics_of(results_of(["pitcher", "blue", "blue"]), rows)
    assert found.accuracy == pytest.approx((0.3 + 0 + 0.6) / 3)
    assert metrics_of(results_of(["net", "red", "green"]), rows).accuracy == pytest.approx((1 + 0.9 + 0.3) / 3)


def test_a_row_that_is_missing_twice_there_or_unknown_is_no_metric() -> None:
    rows, results = labelled([["yes"]] * 4), results_of(["yes"] * 4)
    with pytest.raises(RunError, match=r"of 4 rows: of the source_keys answered 1 missing \(first 3\)$"):
        metrics_of(results.take([0, 2, 3]), rows)
    with pytest.raises(RunError, match=r"answered 1 there more than once \(first 6\)$"):
        metrics_of(results.take([0, 1, 2, 2, 3]), rows)
    with pytest.raises(RunError, match=r"1 missing \(first 9\); 1 there more than once \(first 0\)$"):
        confusion(results.take([0, 0, 1, 2]), rows, 2)
    with pytest.raises(RunError, match=r"1 of no validation row \(first 12\)$"):
        metrics_of(results_of(["yes"] * 5), rows)


def test_nothing_judged_and_no_number_are_told() -> None:
    with pytest.raises(RunError, match="none of 2 rows could be judged: image_missing 1, no_right_answer 1"):
        metrics_of(results_of([None, "yes"]), labelled([["yes"], []]))
    with pytest.raises(RunError, match="none of 0 rows could be judged: there are none"):
        metrics_of(results_of([]), labelled([]))
    broken = results_of(["yes", "no"]).set_column(1, RESULTS.field("loss"), pa.array([1.0, float("nan")], pa.float32()))
    with pytest.raises(RunError, match="the loss is nan over 2 rows"):
        metrics_of(broken, labelled([["yes"], ["no"]]))


def test_confusion_counts_right_answers_against_given_ones() -> None:
    truth = [["yes"], ["Yes", "yes", "no"], ["no"], ["no"], ["a dog"], ["red"], ["cat"], [], ["no"]]
    given_answers = ["yes", "no", "no", "perhaps", "the dog", "no", "no", "yes", None]
    labels, counts = confusion(results_of(given_answers), labelled(truth), 3)
    # Of the answers that are right once, `cat` is the first; the row in error and the one without truth do not count.
    assert labels == ("no", "yes", "cat")
    np.testing.assert_array_equal(counts, [[1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    labels, counts = confusion(results_of(given_answers), labelled(truth), 50)
    assert labels == ("no", "yes", "cat", "a dog", "red")
    assert counts.shape == (5, 6)
    assert counts.dtype == np.int64
    assert counts[3, 3] == 1
    labels, counts = confusion(results_of([None]), labelled([["yes"]]), 5)
    assert (labels, counts.shape) == ((), (0, 1))
