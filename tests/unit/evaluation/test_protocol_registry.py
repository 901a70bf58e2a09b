"""The table of protocols: every name leads to its class, a wrong name to the nearest."""

from pathlib import Path

import pytest

from tests.helpers.tiny_wordnet import write_tiny_wordnet
from vqa_ray.errors import RequestError
from vqa_ray.evaluation import registry
from vqa_ray.evaluation.protocol import Protocol


@pytest.mark.parametrize("name", registry.names())
def test_every_name_leads_to_a_protocol_that_states_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(write_tiny_wordnet(tmp_path / "wordnet")))
    protocol = registry.protocol(name)
    assert isinstance(protocol, Protocol)
    assert protocol.name == name
    assert protocol.title
    assert protocol.source
    assert protocol.headline
    assert protocol.prediction in ("text", "labels", "match")
    assert set(protocol.groups) <= {*protocol.truth, *protocol.optional}
    assert set(protocol.units) <= set(protocol.groups)


def test_official_random_is_that_of_mmmu() -> None:
    assert registry.protocol("official-random").name == "mmmu-official-random"


def test_a_wrong_name_is_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"no protocol 'zzz'; known are"):
        registry.protocol("zzz")


def test_a_misspelt_name_gets_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CLASSES", {"vqa-v2": "no:No", "mme": "no:No"})
    with pytest.raises(RequestError, match=r"no protocol 'VQA2'; did you mean vqa-v2\?"):
        registry.protocol("VQA2")
