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
    "deep": ("[" * 100_000, "nested too deeply"),
    "flow": ("{a: " * 5_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_taxonomy_that_expands_without_end(name: str) -> None:
    text, reason = HOSTILE[name]
    start = time.monotonic()
    with pytest.raises(RequestError) as caught:
        parse_taxonomy(text, "tags.yaml")
    assert reason in str(caught.value)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("text", ["a: 2024-02-30", "[!!int abc]", "!!timestamp x", "!!float x", "!!bool maybe", "0b2"])
def test_values_that_python_cannot_build_are_errors_of_yaml(text: str) -> None:
    if text == "0b2":
        assert yaml.load(text, StrictLoader) == "0b2"
        return
    with pytest.raises(yaml.YAMLError, match=r"is no (timestamp|int|float|bool)"):
        yaml.load(text, StrictLoader)


def test_aliases_are_read() -> None:
    assert yaml.load("a: &a [1, 2]\nb: [*a, *a]\n", StrictLoader) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
