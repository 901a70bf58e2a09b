"""Different questions about different pixels never share a key."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.cache.keys import KEY_BYTES, context_key, image_keys, question_key
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.load import ModelOptions

# Texts that differ in little: case, blanks, quotes, separators of JSON, what joins to the same text.
TEXT = st.text(alphabet="a A\"',[]\\?é\u0301\x00\ud800", max_size=4)
TURNS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
QUESTIONS = st.one_of(
    st.tuples(st.just("answer"), TEXT, st.integers(1, 3), TURNS),
    st.tuples(st.just("score"), TEXT, st.lists(TEXT, max_size=3).map(tuple)),
    st.tuples(st.just("caption"), st.none() | TEXT),
)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """Tiny images of few values, so that many share bytes, or shapes, or all but a byte."""
    height, width = draw(st.sampled_from([(1, 4), (4, 1), (2, 2), (1, 2)]))
    values = draw(st.binary(min_size=height * width * 3, max_size=height * width * 3))
    return np.frombuffer(values, np.uint8).reshape(height, width, 3) & 1


SHOWN = images() | st.tuples(images(), images())


def _same(first: object, second: object) -> bool:
    one, other = (each if isinstance(each, tuple) else (each,) for each in (first, second))
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@given(QUESTIONS, QUESTIONS)
def test_equal_keys_are_equal_questions(first: tuple[object, ...], second: tuple[object, ...]) -> None:
    assert (question_key(*first) == question_key(*second)) == (first == second)


@given(SHOWN, SHOWN)
def test_equal_keys_are_equal_pixels(first: object, second: object) -> None:
    one, other = image_keys([first, second])
    assert (one == other) == _same(first, second)
    assert len(one) + len(question_key("caption", None)) == KEY_BYTES


def test_a_view_of_other_strides_has_the_key_of_its_pixels() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    flipped = image[:, ::-1]
    assert image_keys([flipped]) == image_keys([np.ascontiguousarray(flipped)])
    assert image_keys([flipped]) != image_keys([image])


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float16"},
        {"prompt_template": "Q: {} A:"},
        {"max_new_tokens": 5},
        {"engine_options": {"quantization": "fp8"}},
        {"max_pixels": 4096},
        {"reference": "fake:boxes"},
    ],
)
def test_an_option_that_decides_answers_changes_the_context(change: dict[str, object]) -> None:
    options = ModelOptions("fake:")
    changed = dataclasses.replace(options, **change)
    assert _context(changed) != _context(options)
    assert _context(dataclasses.replace(options, device="cpu", compile=True, is_beside_endpoint=True)) == _context(
        options
    )


def test_an_endpoint_counts_by_its_place_not_by_its_limits() -> None:
    here = ModelOptions("openai:qwen", endpoint=EndpointOptions("http://localhost:1/v1"))
    slower = EndpointOptions("http://localhost:1/v1", concurrency=1, requests_per_minute=9)
    assert dataclasses.replace(here, endpoint=slower).cache_context() == here.cache_context()
    for other in (EndpointOptions("http://localhost:2/v1"), EndpointOptions(slower.base_url, image_encoding="png")):
        assert dataclasses.replace(here, endpoint=other).cache_context() != here.cache_context()
    assert dataclasses.replace(here, reference="openai:other").cache_context() != here.cache_context()


def test_context_does_not_depend_on_the_order_of_options() -> None:
    assert context_key({"a": 1, "b": 2}) == context_key({"b": 2, "a": 1})


def _context(options: ModelOptions) -> str:
    # The fake model takes no bound of its images; the key is made of the options all the same.
    checkpoint = dataclasses.replace(options, max_pixels=None).checkpoint
    return dataclasses.replace(
        options, opened=dataclasses.replace(checkpoint, max_pixels=options.max_pixels)
    ).cache_context()
