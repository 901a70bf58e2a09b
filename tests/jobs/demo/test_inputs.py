"""The demo's input: rows with right answers, and damaged rows that are really damaged."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vqa_ray.catalog.product import sample_product
from vqa_ray.catalog.questions import KINDS
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits, decode
from vqa_ray.jobs.demo import inputs as shards
from vqa_ray.models.fake.sizes import FakeTransform


def test_writes_shards_of_products_and_one_of_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 2)
    uris = shards.write_shards(3, 7, str(tmp_path))
    assert [Path(uri).name for uri in uris] == [
        "products-00000.parquet",
        "products-00001.parquet",
        "products-damaged.parquet",
    ]
    rows = list(shards.read_rows(uris))
    assert [row["row_id"] for row in rows] == list(range(len(rows)))
    assert len({row["image_id"] for row in rows}) == len(rows) == 3 + len(shards.damaged_rows(0))
    assert all(pq.read_schema(uri).equals(shards.SCHEMA) for uri in uris)
    for row in rows[:3]:
        assert decode(row["image"], ImageLimits()).ndim == 3


def test_every_product_is_asked_for_a_dog_and_every_kind_of_question_is_asked() -> None:
    kinds = set()
    for index in range(40):
        product = sample_product(7, index)
        asked = shards.questions_of(product)
        assert asked[0].question == shards.DOG_QUESTION
        assert asked[0].answer == ("yes" if product.motif == "dog" else "no")
        assert len({each.question for each in asked}) == len(asked) >= 4
        assert asked == shards.questions_of(product)
        kinds |= {each.kind for each in asked}
    assert kinds == {*KINDS, shards.DOG_KIND}


def test_damaged_rows_fail_each_in_its_way() -> None:
    found = {}
    for row in shards.damaged_rows(0):
        if row["image"] is None:
            continue
        with pytest.raises(RowError) as caught:
            FakeTransform().target_size(*decode(row["image"], ImageLimits()).shape[:2])
        found[row["image_id"]] = caught.value.code
    assert found == {
        "damaged-half-a-jpeg": ErrorCode.IMAGE_UNDECODABLE,
        "damaged-text-called-jpg": ErrorCode.IMAGE_UNDECODABLE,
        "damaged-empty-file": ErrorCode.IMAGE_MISSING,
        "damaged-three-pixels-high": ErrorCode.IMAGE_ASPECT_RATIO,
        "damaged-gif-of-4-gigapixels": ErrorCode.IMAGE_TOO_LARGE,
    }


def test_what_is_searched_for_is_there() -> None:
    products = [shards.demo_product(7, index) for index in range(600)]
    wanted = [each for each in products if shards.is_wanted(asdict(each))]
    assert len(wanted) >= 6
    assert wanted[0].index == 5
    assert shards.questions_of(wanted[0])[0].answer == "yes"
