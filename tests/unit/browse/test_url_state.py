"""Addresses and what they ask for."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.browse.url_state import UrlState
from vqa_ray.errors import RequestError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20).map(lambda text: text.strip())
VIEWS = st.builds(
    UrlState,
    text=TEXT,
    by=st.sampled_from(["similarity", "words"]),
    image=st.sampled_from(["", "0" * 32]),
    like=st.one_of(st.none(), st.integers(0, 10**9)),
    verify=TEXT,
    only=st.booleans(),
    selected=st.lists(
        st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), unique=True
    ).map(tuple),
    page=st.integers(1, 10**6),
)


def parsed(url: str) -> UrlState:
    return UrlState.parse(parse_qsl(urlsplit(url).query, keep_blank_values=True, max_num_fields=200))


@given(VIEWS)
def test_an_address_asks_for_what_it_was_made_of(view: UrlState) -> None:
    assert parsed(view.url()) == view


def test_nothing_asked_is_the_bare_address() -> None:
    assert UrlState().url() == "/"
    assert parsed("/?text=+&by=similarity&verify=&page=") == UrlState()


def test_choosing_begins_with_the_first_page() -> None:
    view = UrlState(text="red", page=7).toggled("colour", "red").toggled("kind", "mug")
    assert view == UrlState(text="red", selected=(("colour", "red"), ("kind", "mug")))
    assert view.toggled("colour", "red").selected == (("kind", "mug"),)
    assert view.selected_by_facet() == {"colour": ("red",), "kind": ("mug",)}


def test_a_lone_surrogate_goes_into_an_address() -> None:
    assert parsed(UrlState(text="a\ud800b").url()).text == "a?b"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("surprise=1", "unknown parameter 'surprise'"),
        ("by=smell", "by: expected similarity or words, given 'smell'"),
        ("page=two", "page: expected a whole number, given 'two'"),
        ("page=-1", "page: expected a whole number"),
        ("like=1.5", "like: expected a whole number"),
        ("like=" + "9" * 13, "like: expected a whole number"),
        ("like=%D9%A1", "like: expected a whole number"),
        ("text=" + "x" * 1_001, "text: 1,001 characters; at most 1,000"),
        ("verify=" + "x" * 4_001, "verify: 4,001 characters; at most 4,000"),
        ("&".join(f"f.a={number}" for number in range(101)), "101 values selected; at most 100"),
    ],
)
def test_what_is_not_an_address_is_told(query: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        parsed(f"/?{query}")
