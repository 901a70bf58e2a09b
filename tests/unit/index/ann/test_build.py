"""The approximate index: it finds what is there, follows the index, and can be lost without loss."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.index_updates import DATE, KIND
from tests.helpers.indexes import ann_of, random_vectors, write_index
from vqa_ray.errors import RequestError
from vqa_ray.index import version as versions
from vqa_ray.index.ann import build as ann
from vqa_ray.index.garbage import clean_up
from vqa_ray.index.input_files import NONE
from vqa_ray.index.reader import Index, open_index
from vqa_ray.index.update import VersionDelta, apply
from vqa_ray.index.version import Update, Version
from vqa_ray.keys import ranges_of

DIMENSION = 8
ROWS = 1_500


def with_ann(index: Index) -> Index:
    """The index, with an approximate index in its next version."""
    number = index.version.number + 1
    state = ann.build(index.layout, index.version, index.layout.ann(f"test{number}"))
    assert versions.publish(index.layout, replace(index.version, number=number, ann=state))
    return open_index(index.uri)


def changed(index: Index, name: str, drop: list[int], add: np.ndarray) -> Index:
    """The index after an update that drops rows of its first update by key, and adds vectors."""
    other = write_index(Path(index.uri).parent / name, add, files=1)
    target = Path(index.layout.update(name).output)
    shutil.copytree(other.layout.update(other.version.files[0].update).output, target)
    change = VersionDelta(
        update=Update(name, DATE, "in", 1, 0, 0),
        drop={index.version.files[0].update: ranges_of(np.array(drop, np.int64))},
        parts=[str(path) for path in sorted(target.glob("part-*.parquet"))],
        read_as=name,
        sources=NONE,
    )
    version = apply(index.layout, index.version, KIND, change, DATE)
    assert index.version.ann is not None
    state = ann.extend(index.layout, index.version, version)
    assert state is not None
    assert versions.publish(index.layout, replace(version, ann=state))
    clean_up(index.layout, replace(version, ann=state), index.version)
    return open_index(index.uri)


def recall(index: Index, queries: np.ndarray) -> float:
    vectors, positions = index.vectors()
    assert ann_of(index) is not None
    hits = 0
    for query, (scores, found) in zip(queries, ann_of(index).nearest(queries, 10), strict=True):
        exact = vectors @ query
        assert scores == pytest.approx((vectors @ query)[np.searchsorted(positions, found)], abs=1e-4)
        assert (np.diff(scores) <= 0).all()
        hits += len(set(found.tolist()) & set(positions[np.argsort(-exact)[:10]].tolist()))
    return hits / (10 * len(queries))


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return random_vectors(20, DIMENSION, seed=77)


def test_it_finds_follows_and_forgets(tmp_path: Path, queries: np.ndarray) -> None:
    index = with_ann(write_index(tmp_path / "index", random_vectors(ROWS, DIMENSION), files=3, failed=[4, 700]))
    state = index.version.ann
    assert state is not None
    assert (state.rows, state.partitions, state.additions) == (ROWS - 2, 39, 0)
    assert recall(index, queries) >= 0.95
    drop = [*range(100, 160), 1_499]
    later = changed(index, "000003-more0000", drop, random_vectors(50, DIMENSION, seed=5))
    assert later.version.ann is not None
    assert (later.version.ann.rows, later.version.ann.additions) == (ROWS - 2 - 61 + 50, 1)
    assert recall(later, queries) >= 0.95
    # Nothing of the older version is lost to its readers.
    assert recall(open_index(index.uri, 2), queries) >= 0.95


def test_what_a_dead_process_left_in_it_is_undone(tmp_path: Path, queries: np.ndarray) -> None:
    import lance

    index = with_ann(write_index(tmp_path / "index", random_vectors(ROWS, DIMENSION)))
    assert index.version.ann is not None
    lance.dataset(index.layout.path(index.version.ann.path)).delete("source_key < 500")
    assert recall(open_index(index.uri), queries) >= 0.95, "the version names the state that belongs to it"
    later = changed(index, "000003-more0000", [], random_vectors(10, DIMENSION, seed=5))
    assert later.version.ann is not None
    assert later.version.ann.rows == ROWS + 10
    assert recall(later, queries) >= 0.95


def test_few_vectors_are_searched_exactly_in_it(tmp_path: Path, queries: np.ndarray) -> None:
    index = with_ann(write_index(tmp_path / "index", random_vectors(30, DIMENSION), failed=[3]))
    assert index.version.ann is not None
    assert index.version.ann.partitions == 0
    assert recall(index, queries) == 1.0
    assert ann_of(index) is not None
    ((scores, positions),) = ann_of(index).nearest(queries[:1], 100)
    assert len(scores) == len(positions) == 29


def test_an_empty_index_finds_nothing_and_can_fill(tmp_path: Path, queries: np.ndarray) -> None:
    index = with_ann(write_index(tmp_path / "index", random_vectors(2, DIMENSION), failed=[0, 1]))
    assert ann_of(index) is not None
    ((scores, positions),) = ann_of(index).nearest(queries[:1], 5)
    assert len(scores) == len(positions) == 0
    filled = write_index(tmp_path / "filled", random_vectors(5, DIMENSION)).version
    assert ann.extend(index.layout, index.version, replace(filled, number=9)) is None, "it is built anew"


def test_growth_and_loss_call_for_a_new_one(tmp_path: Path) -> None:
    index = with_ann(write_index(tmp_path / "index", random_vectors(ROWS, DIMENSION)))
    version = index.version
    assert ann.extend(index.layout, version, version) == version.ann
    grown = write_index(tmp_path / "grown", random_vectors(2 * ROWS, DIMENSION)).version
    assert ann.extend(index.layout, version, replace(grown, number=9)) is None
    assert version.ann is not None
    other = replace(version, ann=replace(version.ann, rows=ROWS - 1))
    assert ann.extend(index.layout, other, replace(version, ok=ROWS - 1, ann=None)) is None


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_without_it_search_is_exact_and_says_so(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    index = with_ann(write_index(tmp_path / "index", random_vectors(ROWS, DIMENSION)))
    assert index.version.ann is not None
    place = Path(index.layout.path(index.version.ann.path))
    if harm == "gone":
        shutil.rmtree(place)
    else:
        for manifest in (place / "_versions").glob("*.manifest"):
            manifest.write_bytes(b"")
    assert ann_of(open_index(index.uri)) is None
    assert "search is exact, because the approximate index cannot be used" in caplog.text
    assert "--rebuild-ann" in caplog.text
    with pytest.raises(ann.ERRORS):
        ann.extend(index.layout, index.version, index.version)


def test_several_vectors_per_image_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="gives 32 vectors per image; these are searched exactly"):
        ann.check_possible("some/blip2", 32)
    monkeypatch.setattr(ann, "is_installed", lambda: False)
    with pytest.raises(RequestError, match=r"pip install 'vqa-ray\[index\]'"):
        ann.check_possible("some/clip", 1)


@pytest.mark.parametrize(("dimension", "codes"), [(512, 64), (768, 96), (14, 1), (17, 17), (8, 1), (100, 20)])
def test_codes_divide_the_dimension(dimension: int, codes: int) -> None:
    assert ann.shape_for(1_000_000, dimension) == (1_000, codes)
    assert ann.shape_for(100, dimension)[0] == 0


@pytest.mark.parametrize(
    ("choice", "vectors", "ok", "has_one", "wanted"),
    [
        ("never", 1, ann.FROM_VECTORS, True, False),
        ("always", 1, 1, False, True),
        ("always", 32, ann.FROM_VECTORS, False, False),
        ("auto", 1, ann.FROM_VECTORS - 1, False, False),
        ("auto", 1, ann.FROM_VECTORS, False, True),
        ("auto", 1, 1, True, True),
    ],
)
def test_an_approximate_index_is_wanted(choice: str, vectors: int, ok: int, has_one: bool, wanted: bool) -> None:
    version = Version(1, "", {}, vectors, 8, {}, (), (), None, ok, ok)
    assert ann.is_wanted(choice, version, has_one=has_one) is wanted
