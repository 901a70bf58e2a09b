"""Questions that name columns."""

from __future__ import annotations

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.row_text.template import columns_of, is_column_name, word


def test_columns_are_named_once_in_order() -> None:
    assert columns_of(["is it {title}?", "{brand} {title} {product name}"]) == ("title", "brand", "product name")


@pytest.mark.parametrize(
    "text",
    [
        "is it {}?",
        "a {choice}?",
        '{"a": 1}',
        "{{title}}",
        "{ title }",
        "{1}",
        "{a, b}",
        r"\p{Lu}",
        r"\p{Lu",
        "{{title",
        "{ title",
        "{",
    ],
)
def test_what_names_no_column_is_no_template(text: str) -> None:
    assert columns_of([text]) == ()


@pytest.mark.parametrize("text", ["is it {title?", "{title and {brand}", "{brand} {product\nname", r"\p{Lu} {title"])
def test_a_brace_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"the brace of '\{(title|product)[a-z ]*' is not closed"):
        columns_of([text])


def test_names_of_columns() -> None:
    names = ["title", "product name", "a.b-c", "ü", "a{b", "choice", "1", " a", "", "a}"]
    assert [name for name in names if is_column_name(name)] == names[:4]


def test_texts_take_their_places() -> None:
    texts = {"title": "a {brand} mug", "brand": "Acme", "note": None}
    assert word("does {brand}'s photo show {title}?", texts) == "does Acme's photo show a {brand} mug?"
    assert word("{{title}} is {title}, {choice}, {note}, {other}", texts) == (
        "{title} is a {brand} mug, {choice}, {note}, {other}"
    )
    assert word("what colour?", texts) == "what colour?"
