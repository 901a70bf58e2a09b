"""Validation of pairs: each row once, and the same metrics however the rows were gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.tiny_pairs import CAPTIONS, SHAPE, tiny_network, tiny_start
from tests.unit.training.tables import cut_at, failed_row, row_of, table_of
from vqa_ray import schema
from vqa_ray.errors import RunError
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.contrastive.trainer import PairTrainer
from vqa_ray.training.contrastive.validate import PAIR_RESULTS, pair_metrics, pair_results, validate_pairs
from vqa_ray.training.data.captions import NO_CAPTION
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.tokenizer import question_tokenizer

SIZE = (SHAPE.image_size, SHAPE.image_size)
TOKENIZE = question_tokenizer(tiny_start().tokenizer, SHAPE.max_text_tokens)


def labelled(captions: list[list[str]]) -> LabelledRows:
    count = len(captions)
    return LabelledRows(
        keys=np.arange(count, dtype=np.int64),
        image_keys=np.arange(count, dtype=np.int64),
        questions=pa.nulls(count, pa.string()),
        answers=pa.array(captions, pa.list_(pa.string())),
        answer_types=pa.array(["caption"] * count),
    )


def results_of(images: np.ndarray, texts: list[np.ndarray], text_keys: list[list[int]], image_keys: Any) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum([len(keys) for keys in text_keys])])
    rows = pa.table({"source_key": np.arange(len(images)), "image_key": np.asarray(image_keys, np.int64)})
    flat = np.array([key for keys in text_keys for key in keys], np.int64)
    return pair_results(rows, images.astype(np.float32), offsets, flat, np.concatenate(texts).astype(np.float32))


@pytest.fixture(scope="module")
def trainer() -> PairTrainer:
    return PairTrainer(tiny_network(), OptimizerConfig(), 10, torch.float32, tokens_per_pass=100)


def table() -> pa.Table:
    rows = [row_of(key, 0, SIZE, questions=[CAPTIONS[key % 5], CAPTIONS[key % 3]]) for key in range(8)]
    return table_of([*rows, failed_row(8), row_of(9, 0, SIZE, questions=[])])


@settings(deadline=None, max_examples=6)
@given(st.permutations(range(10)), st.lists(st.integers(0, 10), max_size=3))
def test_every_row_comes_once_wherever_it_is_cut(order: list[int], places: list[int]) -> None:
    trainer = PairTrainer(tiny_network(), OptimizerConfig(), 10, torch.float32, tokens_per_pass=100)
    whole = validate_pairs([table()], trainer, TOKENIZE).sort_by("source_key")
    assert whole.schema.equals(PAIR_RESULTS)
    assert whole["source_key"].to_pylist() == list(range(10))
    assert whole["error_code"].to_pylist() == [None] * 8 + ["image_undecodable", NO_CAPTION]
    parts = [validate_pairs([part], trainer, TOKENIZE) for part in cut_at(table().take(order), places)]
    again = pa.concat_tables(parts).sort_by("source_key")
    for name in ("source_key", "image_key", "text_keys", "error_code"):
        assert again[name].to_pylist() == whole[name].to_pylist()
    for name in ("image_vector", "text_vectors"):
        for ours, theirs in zip(again[name].to_pylist()[:8], whole[name].to_pylist()[:8], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)


def test_vectors_are_those_of_the_model(trainer: PairTrainer) -> None:
    found = validate_pairs([table()], trainer, TOKENIZE).sort_by("source_key").slice(0, 8).to_pylist()
    model = trainer.network.model.eval()
    for row, read in zip(found, table().to_pylist(), strict=False):
        pixels = torch.frombuffer(bytearray(read["pixels"]), dtype=torch.uint8).view(1, *SIZE, 3)
        image = model.get_image_features(pixel_values=((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)).pooler_output
        unit = torch.nn.functional.normalize(image, dim=-1)[0].detach()
        assert row["image_vector"] == pytest.approx(unit.tolist(), abs=1e-5)
        texts = np.array(row["text_vectors"]).reshape(2, SHAPE.projection_size)
        for caption, vector in zip(read["questions"], texts, strict=True):
            ids = torch.tensor([TOKENIZE(caption)])
            text = torch.nn.functional.normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)[0]
            assert vector.tolist() == pytest.approx(text.detach().tolist(), abs=1e-5)


def test_recall_of_vectors_that_find_each_other_is_1() -> None:
    eye = np.eye(12)
    found = pair_metrics(
        results_of(eye, list(eye[:, None]), [[key] for key in range(12)], range(12)),
        labelled([["a"]] * 12),
        scale=100.0,
        batch_size=5,
    )
    assert set(found.by_type) == {f"{way}@{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)}
    assert set(found.by_type.values()) == {1.0}
    assert (found.accuracy, found.rows, found.skipped) == (1.0, 12, {})
    assert found.loss == pytest.approx(0, abs=1e-6)


def test_an_image_of_several_rows_and_a_caption_of_several_count_once() -> None:
    # Rows 0 and 1 show one image; rows 1 and 2 have one caption.
    eye = np.eye(3)
    images, texts = eye[[0, 0, 1]], [eye[[0]], eye[[1]], eye[[1]]]
    found = pair_metrics(results_of(images, texts, [[7], [8], [8]], [5, 5, 6]), labelled([["a"]] * 3), 10.0, 8)
    assert set(found.rows_by_type.values()) == {2}
    assert found.by_type["text_to_image@1"] == 1.0
    # The second image's own vector is nearest to its caption, which is the first image's too.
    assert found.by_type["image_to_text@1"] == 1.0


def test_rows_that_failed_are_counted_and_the_others_judged() -> None:
    eye = np.eye(4)
    good = results_of(eye[:3], list(eye[:3, None]), [[0], [1], [2]], range(3))
    bad = {"source_key": 3, "status": schema.STATUS_ERROR, "error_code": "image_missing"}
    results = pa.concat_tables([pa.Table.from_pylist([bad], PAIR_RESULTS), good])
    found = pair_metrics(results, labelled([["a"]] * 4), 10.0, 8)
    assert (found.rows, found.skipped) == (3, {"image_missing": 1})


def test_no_row_that_could_be_judged_is_told() -> None:
    bad = {"source_key": 0, "status": schema.STATUS_ERROR, "error_code": "image_missing"}
    with pytest.raises(RunError, match="none of 1 rows could be judged: image_missing 1"):
        pair_metrics(pa.Table.from_pylist([bad], PAIR_RESULTS), labelled([["a"]]), 10.0, 8)


def test_numbers_that_are_none_are_told() -> None:
    vectors = np.full((2, 3), np.nan)
    results = results_of(vectors, list(vectors[:, None]), [[0], [1]], range(2))
    with pytest.raises(RunError, match="the loss is nan over 2 rows"):
        pair_metrics(results, labelled([["a"]] * 2), 10.0, 8)
