"""Images are varied row by row, and nothing else of a table changes."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.tables import SCHEMA, cut_at, failed_row, row_of, table_of
from vqa_ray.training.data.randaugment import GEOMETRIC, RandAugment, row_generator
from vqa_ray.training.stages.augment import AugmentImages


def rows() -> pa.Table:
    sizes = [(8, 10), (10, 8), (16, 16)]
    made = [row_of(key, key // 3, sizes[key % 3]) for key in range(8)]
    return table_of([*made[:2], failed_row(100), *made[2:], failed_row(101, 2)])


def test_each_row_is_varied_by_its_own_generator() -> None:
    table = rows()
    varied = AugmentImages(7)(table)
    varied.validate(full=True)
    assert varied.schema.equals(table.schema)
    assert varied.drop_columns("pixels").equals(table.drop_columns("pixels"))
    for before, after in zip(table.to_pylist(), varied.to_pylist(), strict=True):
        if before["pixels"] is None:
            assert after["pixels"] is None
            continue
        image = np.frombuffer(before["pixels"], np.uint8).reshape(before["height"], before["width"], 3)
        wanted = RandAugment(2, 9)(image, row_generator(7, before["step"], before["source_key"]))
        assert after["pixels"] == wanted.tobytes()
    assert varied["pixels"] != table["pixels"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 100), max_size=4))
def test_how_a_table_is_cut_makes_no_difference(places: list[int]) -> None:
    stage = AugmentImages(3)
    pieces = cut_at(rows(), places)
    apart = pa.concat_tables([stage(piece) for piece in pieces])
    assert apart.equals(stage(rows()))
    assert stage(pa.concat_tables(pieces)).equals(stage(rows()))


def test_a_row_is_varied_anew_in_a_later_step() -> None:
    first, later = (AugmentImages(0)(table_of([row_of(5, step, (16, 16))])) for step in (1, 2))
    assert first["pixels"] != later["pixels"]


def test_operations_can_be_chosen_and_the_stage_travels() -> None:
    stage = pickle.loads(pickle.dumps(AugmentImages(0, 1, 30, operations=GEOMETRIC)))
    table = table_of([row_of(0, 0, (16, 16))])
    colours = set(map(tuple, np.frombuffer(table["pixels"][0].as_py(), np.uint8).reshape(-1, 3).tolist()))
    found = set(map(tuple, np.frombuffer(stage(table)["pixels"][0].as_py(), np.uint8).reshape(-1, 3).tolist()))
    assert found <= colours | {(0, 0, 0)}


def test_empty_and_failed_tables_pass() -> None:
    stage = AugmentImages(0)
    assert stage(SCHEMA.empty_table()).equals(SCHEMA.empty_table())
    failed = table_of([failed_row(1), failed_row(2)])
    assert stage(failed).equals(failed)
