"""Narrowing rows by what they have, with counts that hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.browse.facets import SHOWN_VALUES, by_facet, find_facets

EVERY = np.ones(6, np.bool_)
TABLE = pa.table(
    {
        "row_id": [0, 1, 2, 3, 4, 5],
        "image_id": list("abcdef"),
        "status": ["ok", "ok", "ok", "ok", "ok", "error"],
        "category": ["mug", "mug", "bag", "mug", None, None],
        "category_score": [0.5, 0.5, 0.5, 0.5, 0.1, None],
        "motif": [["dog", "star"], ["dog"], [], ["star"], None, None],
        "new": [True, False, True, True, None, None],
        "year": [2020, 2021, 2020, 2020, 2020, None],
        "same": ["x"] * 6,
        "price": [1.0] * 6,
    }
)


def counts(facets: object, selected: dict[str, tuple[str, ...]]) -> dict[str, dict[str, int]]:
    return {each.name: {v.text: v.rows for v in each.values} for each in facets.count(selected, EVERY)}  # type: ignore[attr-defined]


def test_columns_with_few_values_are_facets_status_first() -> None:
    facets = find_facets(TABLE)
    found = counts(facets, {})
    assert list(found) == ["status", "category", "motif", "new", "year"]
    assert found["category"] == {"mug": 3, "bag": 1}
    assert found["motif"] == {"dog": 2, "star": 2}
    assert found["new"] == {"yes": 3, "no": 1}
    assert found["year"] == {"2020": 4, "2021": 1}
    assert ("category", "mug") in facets
    assert ("category", "dog") not in facets
    assert ("nothing", "mug") not in facets


def test_attributes_come_before_the_reasons_why_they_have_no_value() -> None:
    columns: dict[str, object] = {}
    for number in range(10):
        columns[f"a{number}"] = ["x", "y", None]
        columns[f"a{number}_score"] = [0.5, 0.5, None]
        columns[f"a{number}_reason"] = [None, None, "not_asked"]
    shown = find_facets(pa.table(columns)).count({}, np.ones(3, np.bool_))
    found = [each.name for each in shown]
    assert found[:10] == [f"a{number}" for number in range(10)]
    assert found[10:] == [f"a{number}_reason" for number in range(6)]


def test_values_of_one_facet_add_up_and_facets_cut() -> None:
    facets = find_facets(TABLE)
    assert facets.mask({"category": ("mug", "bag")}).tolist() == [True, True, True, True, False, False]
    assert facets.mask({"category": ("mug",), "motif": ("dog",)}).tolist() == [True, True] + [False] * 4
    assert facets.mask({"category": ("nothing",)}).tolist() == [False] * 6
    assert facets.mask({"unknown": ("x",)}).tolist() == [True] * 6


def test_a_facet_is_counted_over_what_the_others_leave() -> None:
    found = counts(find_facets(TABLE), {"category": ("mug",), "new": ("yes",)})
    assert found["category"] == {"mug": 2, "bag": 1}, "its own choice does not count"
    assert found["new"] == {"yes": 2, "no": 1}
    assert found["motif"] == {"dog": 1, "star": 2}


def test_a_chosen_value_stays_to_be_taken_away() -> None:
    shown = {each.name: each for each in find_facets(TABLE).count({"category": ("bag",), "motif": ("dog",)}, EVERY)}
    assert [(v.text, v.rows, v.selected) for v in shown["motif"].values] == [("dog", 0, True)]
    assert shown["category"].values[1].selected


def test_only_the_most_frequent_values_are_shown() -> None:
    many = [f"v{row % 50}" for row in range(500)] + ["v0"] * 7
    (facet,) = find_facets(pa.table({"a": many})).count({"a": ("v49",)}, np.ones(507, np.bool_))
    assert facet.values[0].text == "v0"
    assert facet.values[-1].text == "v49", "selected, so it is shown"
    assert len(facet.values) == SHOWN_VALUES + 1
    assert facet.more == 9


def test_columns_that_tell_rows_apart_are_no_facets() -> None:
    names = [f"n{row}" for row in range(300)]
    assert find_facets(pa.table({"name": names})).count({}, np.ones(300, np.bool_)) == []
    assert find_facets(pa.table({"name": pa.array([], pa.string())})).count({}, np.ones(0, np.bool_)) == []


def test_answers_are_facets_by_their_question() -> None:
    results = [
        [{"question": "what is it?", "answer": "mug"}, {"question": "is it red?", "answer": "yes"}],
        [{"question": "what is it?", "answer": "bag"}, {"question": "is it red?", "answer": "yes"}],
        None,
    ]
    found = find_facets(pa.table({"results": results})).count({}, np.ones(3, np.bool_))
    assert {each.name: {v.text: v.rows for v in each.values} for each in found} == {
        "what is it?": {"mug": 1, "bag": 1},
        "is it red?": {"yes": 2},
    }


def test_pairs_are_grouped() -> None:
    assert by_facet([("a", "1"), ("b", "2"), ("a", "3")]) == {"a": ("1", "3"), "b": ("2",)}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", "", None]),
        st.one_of(st.none(), st.lists(st.sampled_from(["p", "q", None]), max_size=3)),
        st.booleans(),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(ROWS, st.sets(st.sampled_from(["x", "y", ""])), st.sets(st.sampled_from(["p", "q"])))
def test_counts_are_those_of_looking_at_every_row(
    rows: list[tuple[str | None, list[str | None] | None, bool]], ones: set[str], lists: set[str]
) -> None:
    table = pa.table(
        {
            "one": pa.array([row[0] for row in rows], pa.string()),
            "many": pa.array([row[1] for row in rows], pa.list_(pa.string())),
        }
    )
    pool = np.array([row[2] for row in rows], np.bool_)
    selected = {name: tuple(values) for name, values in (("one", ones), ("many", lists)) if values}
    facets = find_facets(table)
    mask = facets.mask(selected)
    shown = {each.name: each for each in facets.count(selected, pool)}
    known = {
        name
        for name, value in (("one", "x"), ("one", "y"), ("one", ""), ("many", "p"), ("many", "q"))
        if (name, value) in facets
    }

    def fits(row: tuple[str | None, list[str | None] | None, bool], name: str) -> bool:
        if name not in selected or name not in known:
            return True
        return row[0] in selected["one"] if name == "one" else bool(set(row[1] or ()) & set(selected["many"]))

    assert mask.tolist() == [fits(row, "one") and fits(row, "many") for row in rows]
    for name, other in (("one", "many"), ("many", "one")):
        for value in shown[name].values if name in shown else ():
            has = [value.text == row[0] if name == "one" else value.text in (row[1] or ()) for row in rows]
            left = [pool[at] and fits(row, other) and has[at] for at, row in enumerate(rows)]
            assert value.rows == sum(left)
