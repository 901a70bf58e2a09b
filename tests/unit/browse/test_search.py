"""Finding by text, image and row, and what a VQA model says of the hits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.coloured import picture
from tests.unit.browse.site import coloured_index, fake_asking, finder_of, on_disk
from vqa_ray.browse.dataset import Collection
from vqa_ray.browse.search import Finder, VisualQuery, as_expression
from vqa_ray.errors import RequestError
from vqa_ray.predicates.parser import PredicateError, parse

COUNT, FAILED, BROKEN = 16, 4, 8


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """One-colour images that can be read again, but for row 8; row 4 was in error."""
    place = tmp_path_factory.mktemp("found")
    images = [b"no image" if row == BROKEN else picture(row) for row in range(COUNT)]
    return coloured_index(place / "index", COUNT, failed=[FAILED], **on_disk(place, images))


@pytest.fixture(scope="module")
def finder(collection: Collection) -> Finder:
    return finder_of(collection, fake_asking())


EVERY = np.ones(COUNT, np.bool_)


def test_a_text_and_a_row_together(finder: Finder) -> None:
    found = finder.find(VisualQuery("red", like=1), EVERY)
    assert {row % 4 for row in found.positions[:7].tolist()} == {0, 1}
    assert found.images == COUNT - 1
    assert found.method == "exact search"
    assert found.verdicts is None


def test_only_rows_that_are_let_through_are_found(finder: Finder) -> None:
    found = finder.find(VisualQuery("red"), np.arange(COUNT) % 4 == 1)
    assert found.positions.tolist() == [1, 5, 9, 13]
    assert finder.find(VisualQuery("red"), np.zeros(COUNT, np.bool_)).positions.tolist() == []


def test_matches_come_first_then_what_could_not_be_asked(finder: Finder) -> None:
    found = finder.find(VisualQuery("red blue"), EVERY, '"what colour is it?" = "red"')
    assert found.verdicts is not None
    order = found.positions.tolist()
    assert order[:2] == [0, 12]
    assert order[2] == BROKEN
    assert len(order) == COUNT - 1
    assert [each.match for each in found.verdicts[:4]] == [True, True, None, False]
    assert "image_undecodable" in (found.verdicts[2].error or "")
    (line,) = found.verdicts[0].lines
    assert (line.label, line.values[0].text) == ("what colour is it?", "red")
    assert found.scores[3] >= found.scores[4], "what does not match stays in its order"


def test_a_bare_question_is_asked(finder: Finder) -> None:
    found = finder.find(VisualQuery("red"), EVERY, "is it red?")
    assert found.verdicts is not None
    assert found.verdicts[0].lines[0].label == "is it red?"


def test_the_model_is_loaded_once(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqa_ray.models.fake.model import FakeModel

    made = []
    init = FakeModel.__init__

    def counted(self: FakeModel, *arguments: object, **named: object) -> None:
        made.append(self)
        init(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeModel, "__init__", counted)
    finder = finder_of(collection, fake_asking())
    for question in ("is it red?", "is it blue?"):
        finder.find(VisualQuery("red"), EVERY, question)
    assert len(made) == 1


def test_what_cannot_be_found_is_told(finder: Finder, collection: Collection) -> None:
    with pytest.raises(RequestError, match="no row 99: the index has 16"):
        finder.find(VisualQuery(like=99), EVERY)
    with pytest.raises(RequestError, match="this row has no vector"):
        finder.find(VisualQuery(like=FAILED), EVERY)
    with pytest.raises(RequestError, match="image_undecodable"):
        finder.find(VisualQuery(image=b"no image"), EVERY)
    with pytest.raises(PredicateError) as caught:
        finder.find(VisualQuery("red"), EVERY, '"is it red?" and or')
    assert caught.value.excerpt.splitlines()[1].endswith("^")
    with pytest.raises(RequestError, match="start vqa-ray browse with --verify-model"):
        finder_of(collection).find(VisualQuery("red"), EVERY, "is it red?")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("is there a dog?", '"is there a dog?"'),
        ("what's on the mug's side?", "\"what's on the mug's side?\""),
        ('is it "new"?', '"is it \\"new\\"?"'),
        ("a \\ b", '"a \\\\ b"'),
        ('"is it red?" and not "is it a mug?"', '"is it red?" and not "is it a mug?"'),
        ("not 'is it red?'", "not 'is it red?'"),
        ("('is it red?')", "('is it red?')"),
    ],
)
def test_a_question_becomes_an_expression(text: str, expression: str) -> None:
    assert as_expression(text) == expression
    parse(expression)
