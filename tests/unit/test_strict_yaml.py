"""Documents of YAML that stand for more than they hold."""

from __future__ import annotations

import time

import pytest
import yaml

from vqa_ray.errors import RequestError
from vqa_ray.strict_yaml import StrictLoader
from vqa_ray.taxonomy.file import parse_taxonomy

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
HOSTILE = {
    "laughs": (LAUGHS, "more than 1,000,000 values"),
    "itself": ("a: &a [*a]\n", "nested too deeply, or within itself"),
    "deep": ("[" * 100_000, "recursion"),
    "flow": ("{a: " * 5_000, "recursion"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_taxonomy_that_expands_without_end(name: str) -> None:
    text, reason = HOSTILE[name]
    start = time.monotonic()
    with pytest.raises(RequestError) as caught:
        parse_taxonomy(text, "tags.yaml")
    assert reason in str(caught.value)
    assert time.monotonic() - start < 30


def test_aliases_are_read() -> None:
    assert yaml.load("a: &a [1, 2]\nb: [*a, *a]\n", StrictLoader) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
