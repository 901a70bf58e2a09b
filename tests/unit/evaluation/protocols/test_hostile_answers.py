"""Answers that no model should give: every protocol reads them as wrong, in time, and does not fall over."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiny_wordnet import write_tiny_wordnet
from vqa_ray.evaluation import registry
from vqa_ray.evaluation.protocol import Protocol

# A row of truth that serves every protocol that judges text, by role.
TRUTH: dict[str, Any] = {
    "answers": ["zebra"],
    "captions": ["a zebra in the grass"],
    "label": "yes",
    "index": 1,
    "image": "1.jpg",
    "choices": ["lion", "zebra"],
    "verdict": "right",
    "reviewed": "zebra",
}
# What is right where it is not a zebra.
ANSWERS = {
    "mme": "yes",
    "mathvista": "zebra",
    "mathvista-official": "zebra",
    "gqa": "zebra",
    "gqa-llava": "zebra",
    "gqa-lmms-eval": "zebra",
}
CATEGORIES = {"mme": "count"}
HOSTILE = {
    "empty": "",
    "blank": " \n\t\u3000",
    "nul": "\0\0",
    "emoji": "🤷🏽‍♀️🦓",
    "right to left": "\u202e\u05d6\u05d1\u05e8\u05d4 \u0627\u0644\u062d\u0645\u0627\u0631",
    "lone surrogate": "\ud800",
    "brackets": "(((([[[[{{{{",
    "patterns": ".*\\1(?P<x>)$^",
    "number": "-1e999",
    "python": "__import__('os')",
}
# The official rules of POPE take what is no "no" for a yes, MathVista's the nearest option, and MMMU's draw a letter.
ALWAYS_READ = ("pope", "mathvista", "mathvista-official", "mmmu-official-random")
LONG = ("x", "7", "x ", "=\n", "1,", "The answer is ")


@pytest.fixture(params=registry.names())
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Protocol, dict[str, Any]]:
    """A protocol and its row of truth."""
    monkeypatch.setenv("WNSEARCHDIR", str(write_tiny_wordnet(tmp_path / "wordnet")))
    protocol = registry.protocol(request.param)
    if protocol.prediction != "text":
        pytest.skip("judges no text")
    known = {**TRUTH, "answer": ANSWERS.get(protocol.name, "B"), "category": CATEGORIES.get(protocol.name)}
    truth = {role: known.get(role) for role in (*protocol.truth, *protocol.optional)}
    protocol.fit([truth])
    return protocol, truth


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_odd_answers_are_wrong(case: tuple[Protocol, dict[str, Any]], text: str) -> None:
    protocol, truth = case
    score = protocol.judge(text, truth).score
    assert 0 <= score <= 1
    assert score == 0 or protocol.name in ALWAYS_READ


@pytest.mark.timeout(60)
def test_long_answers_take_no_square_of_their_length(case: tuple[Protocol, dict[str, Any]]) -> None:
    protocol, truth = case
    for part in LONG:
        assert protocol.judge(part * (100_000 // len(part)), truth).score in (0, 1)


@pytest.mark.timeout(60)
def test_ten_megabytes_take_seconds(case: tuple[Protocol, dict[str, Any]]) -> None:
    protocol, truth = case
    assert protocol.judge("x" * 10_000_000, truth).score in (0, 1)
