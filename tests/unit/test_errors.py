"""Texts of errors."""

from __future__ import annotations

import pytest

from vqa_ray import errors
from vqa_ray.errors import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  b\tc", "a b c"),
        (
            "Kernel error -> Generic S3 error \x1b[31m↳ \x1b[0m HTTP error",
            "Kernel error -> Generic S3 error ↳ HTTP error",
        ),
        ("bell\x07 and a list[3]", "bell and a list[3]"),
    ],
)
def test_one_line_is_plain_text(text: str, line: str) -> None:
    assert one_line(text) == line
    assert one_line("x" * 20, 10) == "x" * 9 + "…"


def test_the_docstring_draws_every_exception() -> None:
    tree = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    defined = [each.__name__ for each in classes if issubclass(each, Exception)]
    drawn = [word for line in tree for word in line.split() if word in defined]
    assert sorted(drawn) == sorted(defined)
