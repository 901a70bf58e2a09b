"""A VQA model's word on candidates: asked until enough fit, and what becomes of those that cannot be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.coloured import NAMES, picture
from vqa_ray import schema
from vqa_ray.index.search.hits import apply_verdicts, hits_table
from vqa_ray.index.search.verify import BATCH, Verification, Verifier
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse

RED = '"what colour is it?" = "red"'


class Pictures:
    """Images in four colours by position; some cannot be had or decoded."""

    uri = "memory://pictures"

    def __init__(self, gone: Sequence[int] = (), broken: Sequence[int] = (), changed: Sequence[int] = ()) -> None:
        self.gone, self.broken, self.changed = gone, broken, changed
        self.asked: list[int] = []

    def image(self, position: int) -> bytes:
        return b"no image" if position in self.broken else picture(position)

    def hashes(self, positions: Sequence[int]) -> list[str | None]:
        images = (picture(p + 1) if p in self.changed else self.image(p) for p in positions)
        return [hashlib.sha256(image).hexdigest() for image in images]

    def read(self, positions: Sequence[int]) -> pa.Table:
        self.asked += positions
        rows = []
        for position in positions:
            row = {"source_key": 3, "row_id": position, "image_id": f"i{position}", "status": schema.STATUS_OK}
            if position in self.gone:
                row |= {"image_uri": f"/nowhere/{position}.jpg"}
            else:
                row |= {"image": self.image(position)}
            rows.append(row)
        return pa.Table.from_pylist(rows, schema.with_kept(schema.READ, [])).append_column(
            "shop", pa.array(["north"] * len(rows))
        )


def check(where: str = f"{RED} >= 0.9") -> Verification:
    return Verification(ModelOptions("fake:"), parse(where))


def test_candidates_are_asked_until_enough_of_them_fit() -> None:
    source = Pictures()
    verified = Verifier(check(), source)(range(200), 9)
    assert source.asked == list(range(2 * BATCH)), "8 of the first 32 fit, so two batches are needed"
    assert (verified.matched, verified.rejected, verified.failed) == (16, 48, 0)
    assert verified.table.schema.names == schema.RETRIEVE.names
    assert [row["row_id"] for row in verified.table.to_pylist() if row["match"]] == list(range(0, 64, len(NAMES)))


def test_without_candidates_no_model_is_loaded() -> None:
    nobody = Verification(ModelOptions("/nowhere"), parse(RED))
    verified = Verifier(nobody, Pictures())([], 5)
    assert (verified.table.schema, verified.table.num_rows, verified.matched) == (schema.RETRIEVE, 0, 0)
    empty = apply_verdicts(np.empty(0, np.int64), np.empty(0, np.float32), verified, 5)
    assert empty.verdicts is not None
    assert not len(empty.positions)


def test_a_model_that_is_loaded_is_asked_as_it_is() -> None:
    held = Verification(ModelOptions("fake:"), parse(f"{RED} >= 0.9"), loaded=ModelOptions("fake:").load())
    nowhere = replace(held, model=ModelOptions("fake:", device="none"))
    found, again = (Verifier(each, Pictures())(range(8), 8).table for each in (held, nowhere))
    assert found.equals(again)


def test_the_model_keeps_the_threads_of_the_process() -> None:
    import torch

    from vqa_ray.process import prepare_for_decoding

    before = torch.get_num_threads()
    prepare_for_decoding.cache_clear()
    torch.set_num_threads(2)
    try:
        Verifier(check(), Pictures())(range(4), 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_all_are_asked_where_too_few_fit() -> None:
    verified = Verifier(check(), Pictures())(range(3), 10)
    assert (verified.table.num_rows, verified.matched, verified.rejected) == (3, 1, 2)


def test_what_cannot_be_looked_at_again_is_kept_and_says_why() -> None:
    verified = Verifier(check(), Pictures(gone=[0], broken=[2]))(range(6), 10)
    assert (verified.matched, verified.rejected, verified.failed) == (1, 3, 2)
    positions, scores = np.arange(100, 106), np.linspace(0.9, 0.4, 6).astype(np.float32)
    ranked = apply_verdicts(positions, scores, verified, 10)
    assert ranked.positions.tolist() == [104, 100, 102], "what fits, then what failed"
    assert ranked.scores.tolist() == pytest.approx([0.5, 0.9, 0.7])
    assert ranked.verdicts is not None
    assert ranked.verdicts["error_code"].to_pylist() == [None, "image_missing", "image_undecodable"]
    assert apply_verdicts(positions, scores, verified, 1).positions.tolist() == [104, 100, 102]


def test_an_image_that_was_replaced_is_not_what_was_found() -> None:
    table = Verifier(check(), Pictures(changed=[4]))(range(8), 8).table
    assert table["match"].to_pylist() == [True, False, False, False, None, False, False, False]
    assert table["error_message"].to_pylist()[4] == "the image: is another image than was embedded"
    assert table["status"].to_pylist()[4] == "error"


def test_the_best_of_those_that_fit_stay_in_the_order_of_the_search() -> None:
    verified = Verifier(check(f"{RED} >= 0"), Pictures())(range(12), 12)
    ranked = apply_verdicts(np.arange(12), np.linspace(1, 0, 12).astype(np.float32), verified, 5)
    assert ranked.positions.tolist() == [0, 1, 2, 3, 4]


def test_a_table_of_hits_holds_what_is_known_of_them() -> None:
    verified = Verifier(check(), Pictures(gone=[1]))(range(4), 10)
    ranked = apply_verdicts(np.arange(4), np.array([0.9, 0.8, 0.7, 0.6], np.float32), verified, 10)
    known = pa.Table.from_pylist(
        [
            {
                "row_id": 7 + place,
                "image_id": f"i{place}",
                "image_uri": f"/images/{place}.jpg",
                "height": 30,
                "width": 40,
                "sha256": "aa",
                "status": "ok",
                "error_code": None,
                "error_message": None,
                "warning": None,
                "attempt": 1,
                "source_key": place,
                "shop": "north",
                "score": "their own",
            }
            for place in range(2)
        ]
    )
    table = hits_table(ranked, known)
    assert table.column_names == [
        *("rank", "row_id", "image_id", "image_uri", "score", "verified_score", "verified_scores"),
        *("height", "width", "sha256", "status", "error_code", "error_message", "warning", "shop", "index_score"),
    ]
    first, second = table.to_pylist()
    assert (first["rank"], first["row_id"], first["status"], first["shop"]) == (1, 7, "ok", "north")
    assert first["verified_score"] == 1.0
    assert first["verified_scores"][0]["question"] == "what colour is it?"
    assert (second["error_code"], second["verified_score"], second["index_score"]) == (
        "image_missing",
        None,
        "their own",
    )
