"""WUPS by the rules of DAQUAR's script, on a WordNet of seven nouns."""

from pathlib import Path

import pytest

from tests.helpers.judged_rows import measure
from tests.helpers.tiny_wordnet import write_tiny_wordnet
from vqa_ray.errors import RequestError
from vqa_ray.evaluation.registry import protocol
from vqa_ray.evaluation.wups import WordNet, wups


@pytest.fixture
def dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    directory = str(write_tiny_wordnet(tmp_path / "dict"))
    monkeypatch.setenv("WNSEARCHDIR", directory)
    return directory


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("chair", "table", 2 * 2 / (3 + 3)),  # twice the depth of what is above both, by their depths
        ("chair", "stool", 2 * 3 / (3 + 4)),
        ("geese", "goose", 1.0),
        ("goose", "table", 2 * 1 / (3 + 3)),
        ("goose", "blue", 0.0),
    ],
)
def test_wu_palmer_similarity(dictionary: str, one: str, other: str, expected: float) -> None:
    assert WordNet(dictionary)(one, other) == pytest.approx(expected)
    assert WordNet(dictionary)(other, one) == pytest.approx(expected)


def test_the_protocol(dictionary: str) -> None:
    cases = [
        ("chair", {"answers": "chair"}),
        ("stool", {"answers": "chair"}),
        ("table, chair", {"answers": "chair,table"}),
        ("chair", {"answers": "chair, table"}),
        (None, {"answers": "chair"}),
        ("stool", {"answers": ["stool", "goose", "red", "stool"]}),  # a consensus
    ]
    close, apart, far = 6 / 7, 4 / 6, 2 / 7
    found = measure(protocol("wups"), cases)
    assert found["wups_0.9"] == pytest.approx(100 * (1 + close / 10 + 1 + apart / 10 + (2 + far / 10) / 4) / 6)
    assert found["wups_0.0"] == pytest.approx(100 * (1 + close + 1 + apart + (2 + far) / 4) / 6)
    assert found["accuracy"] == pytest.approx(100 * 2.5 / 6)


def test_every_item_of_either_list_counts() -> None:
    def half(one: str, other: str) -> float:
        return 0.5

    assert wups("a", "b, c", 0.0, half) == 0.25
    assert wups("a, b", "a, b", 0.9, half) == 1.0
    assert wups("", "", 0.9, half) == 1.0
    assert wups("a", "b", 0.9, half) == pytest.approx(0.05)


def test_a_missing_dictionary_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(RequestError, match=r"no data\.noun: set WNSEARCHDIR to their directory"):
        protocol("wups")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nltk.corpus.reader", None)
    with pytest.raises(RequestError, match=r"NLTK, which is not installed: pip install 'vqa-ray\[wups\]'"):
        WordNet()
