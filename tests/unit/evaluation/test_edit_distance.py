"""The Levenshtein distance, against the textbook's table."""

from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.evaluation.edit_distance import edit_distance

WORDS = st.text("abcé ", max_size=12)


def by_table(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row = row, [i]
        for j, right in enumerate(b, 1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (left != right)))
    return row[-1]


def test_known_distances() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("", "") == 0


@given(WORDS, WORDS)
def test_equals_the_textbook(a: str, b: str) -> None:
    assert edit_distance(a, b) == by_table(a, b) == edit_distance(b, a)


def test_a_long_string_beside_a_short_one_is_no_matter() -> None:
    assert edit_distance("a" * 100_000, "b") == 100_000
