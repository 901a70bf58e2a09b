"""What the tag stage asks: only what applies, in waves, of the model that an attribute names, about a shortlist."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.stages.test_tag import decoded
from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.stages.tag_models import fit, further_models
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.types import ChoiceScores

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 160, 60), (40, 70, 210), (128, 128, 128)
COLOUR = {"name": "colour", "question": "what colour?", "choices": ["red", "green", "blue"], "threshold": 0.8}


def sized(*colours: tuple[int, int, int]) -> pa.Table:
    table = decoded(*colours)
    for name, value in (("source_height", 8), ("source_width", 16)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array([value] * len(colours), pa.int32()))
    return table


def taxonomy(*attributes: dict[str, Any]) -> Taxonomy:
    return Taxonomy.model_validate({"attributes": list(attributes)})


def by_hash(image: np.ndarray, question: str, choice: str) -> float:
    return zlib.crc32(f"{image[0, 0]}{question}{choice}".encode()) / 2**32


def by_red(image: np.ndarray, question: str, choice: str) -> float:
    return float(image[0, 0, 0] > 200 or choice != "red")


class Asked:
    """Scores by a function of the image, the question and the choice; notes the questions of each call."""

    def __init__(self, value: Callable[[np.ndarray, str, str], float] = by_hash) -> None:
        self.value = value
        self.questions: list[list[tuple[str, ...]]] = []

    def score(
        self,
        images: Sequence[np.ndarray],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        self.questions.append([tuple(each) for each in questions])
        return [
            [
                ChoiceScores(tuple(self.value(image, question, choice) for choice in offered))
                for question, offered in zip(texts, of_image, strict=True)
            ]
            for image, texts, of_image in zip(images, questions, choices, strict=True)
        ]

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        return [True for _ in choices]


WORDS = ("p", "q", "r")
CHOICES: st.SearchStrategy[Any] = st.one_of(
    st.just(["p", "q", "r"]),
    st.just({"p": ["p", "also p"], "q": {"children": ["q1", "q2"], "question": "which q?"}, "r": {"below": 0.4}}),
    st.just({"p": {"children": {"p1": {"children": ["p2"]}}}, "q": "q", "r": "r"}),
)


@st.composite
def conditional(draw: st.DrawFn) -> Taxonomy:
    """A taxonomy whose conditions name earlier attributes; its columns are in any order."""
    attributes: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 5))):
        yes_no = draw(st.booleans())
        choices = ["p", "q", "r"] if yes_no else draw(CHOICES)
        attribute = {"name": f"a{number}", "question": f"{{choice}} {number}?" if yes_no else f"{number}?"}
        attribute |= {"choices": choices, "threshold": draw(st.sampled_from([0.0, 0.4, 0.7]))}
        attribute |= {"mode": "yes_no", "multi": draw(st.booleans())} if yes_no else {}
        if number and draw(st.booleans()):
            terms = [
                f"{draw(st.sampled_from(['', 'not ']))}a{draw(st.integers(0, number - 1))} "
                f"{draw(st.sampled_from(['=', '!=']))} {draw(st.sampled_from(WORDS))}"
                for _ in range(draw(st.integers(1, 2)))
            ]
            attribute["when"] = draw(st.sampled_from([" and ", " or "])).join(terms)
        attributes.append(attribute)
    with contextlib.suppress(ValueError):  # a condition that is never true
        return taxonomy(*draw(st.permutations(attributes)))
    return taxonomy(attributes[0])


@settings(deadline=None, max_examples=60)
@given(conditional(), st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=4))
def test_waves_give_what_asking_all_and_filtering_gives(read: Taxonomy, colours: list[tuple[int, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        model = Asked()
        patch.setattr(ModelOptions, "load", lambda _: model)
        rows = TagStage(TagConfig(ModelOptions("any"), read))(sized(*colours)).to_pylist()
        questions = read.questions()
        asked = [[each.question for each in questions]], [[each.choices for each in questions]]
        for row, colour in zip(rows, colours, strict=True):
            image = np.full((8, 16, 3), colour, np.uint8)
            everything = read.tags([each.scores for each in model.score([image], *asked)[0]])
            assert {name: row[name] for name in everything.columns} == everything.columns
            assert row["tags"] == list(everything.tags)


def test_what_does_not_apply_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Asked(by_red)
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    read = taxonomy(
        {"name": "shade", "question": "which red?", "choices": ["dark", "light"], "when": "colour = red"},
        {"name": "colour", "question": "what colour?", "choices": ["red", "green"]},
        {"name": "kind", "question": "what is it?", "choices": ["mug"]},
    )
    rows = TagStage(TagConfig(ModelOptions("any"), read))(sized(RED, GREEN, RED)).to_pylist()
    assert model.questions == [[("what colour?", "what is it?")] * 2, [("which red?",)]]
    assert [row["shade"] for row in rows] == ["dark", None, "dark"]
    assert [row["shade_reason"] for row in rows] == [None, "not_asked", None]
    assert [sorted({each["attribute"] for each in row["tag_scores"]}) for row in rows[:2]] == [
        ["colour", "kind", "shade"],
        ["colour", "kind"],
    ]


def test_an_attribute_is_asked_of_its_own_model_at_its_own_size() -> None:
    own = {**COLOUR, "model": "fake:"}
    stage = TagStage(TagConfig(ModelOptions("bundled:catalog-vilt"), taxonomy(own)))
    assert stage(sized(RED, GREEN))["colour"].to_pylist() == ["red", "green"]
    kind = {"name": "kind", "question": "what is it?", "choices": ["mug", "cup"]}
    with pytest.raises(RequestError, match=r"attribute 'kind': model bundled:catalog-vilt cannot answer 'cup'"):
        TagStage(TagConfig(ModelOptions("bundled:catalog-vilt"), taxonomy(own, kind)))
    image = np.full((8, 16, 3), RED, np.uint8)
    (shown,) = fit([image], [(40, 80)], ModelOptions("fake:").checkpoint.transform)
    assert shown.shape == (32, 64, 3)


def test_a_named_model_must_know_the_choices_and_the_task() -> None:
    unknown = {"name": "kind", "question": "what is it?", "choices": ["spaceship"], "model": "bundled:catalog-vilt"}
    with pytest.raises(RequestError, match=r"attribute 'kind': model bundled:catalog-vilt cannot answer 'spaceship'"):
        TagStage(TagConfig(ModelOptions("fake:"), taxonomy(unknown)))
    with pytest.raises(RequestError, match="model bundled:catalog-clip: clip does not"):
        TagStage(TagConfig(ModelOptions("fake:"), taxonomy({**unknown, "model": "bundled:catalog-clip"})))
    shortlist = {"model": "fake:boxes", "k": 1}
    with pytest.raises(RequestError, match=r"model fake:boxes: .* does not"):
        TagStage(TagConfig(ModelOptions("fake:"), taxonomy({**COLOUR, "shortlist": shortlist})))


def test_a_named_model_has_an_adapter_of_its_own_or_none() -> None:
    shortlist = {"model": "bundled:catalog-clip", "k": 2}
    named = taxonomy({**COLOUR, "model": "bundled:catalog-vilt", "shortlist": shortlist})
    further = further_models(named, ModelOptions("fake:", lora="brand=adapter"))
    assert [each.lora for each in further.values()] == [None, None]


SHADES = {
    "warm": {"children": {"red things": ["red shoe", "red mug"], "brown things": "brown shoe"}},
    "cold": {"children": {"blue things": "blue shoe", "green things": "green mug"}},
    "other": {"below": 0.1},
}


def test_the_model_decides_among_the_nearest_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = {"name": "kind", "question": "what is it?", "choices": SHADES, "shortlist": {"model": "fake:", "k": 2}}
    model = Asked()
    monkeypatch.setattr(ModelOptions, "load", lambda _: model)
    read = taxonomy(kind)
    rows = TagStage(TagConfig(ModelOptions("fake:"), read))(sized(RED, GREEN, BLUE, GREY)).to_pylist()
    nearest = ["red things", "green things", "blue things"]
    for row, name in zip(rows, nearest, strict=False):
        scored = {each["choice"]: each["score"] for each in row["tag_scores"]}
        assert name in scored
        assert len(scored) == 2
        best = max(scored, key=scored.__getitem__)
        assert (row["kind"], row["kind_rank"]) == (best, 1 if best == name else 2)
        assert row["kind_path"] == list(read.attributes[0].paths[best])
        assert row["tags"] == [f"kind:{each}" for each in row["kind_path"]]
    assert model.questions == [[("what is it?",)] * 4]
    assert schema.ok_rows(pa.Table.from_pylist(rows)).tolist() == [0, 1, 2, 3]
