"""Whether a command is told apart from the one an output was made with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.run.record import RunRecord

RECORD = RunRecord(
    run_id="abc",
    job="answer",
    started="2026-01-02T03:04:05Z",
    command={"question": ["is there a dog?"], "top_k": 5},
    model={"reference": "fake:", "fingerprint": "m1"},
    input={"uri": "in", "fingerprint": "i1"},
    versions={"ray": "2"},
)


def test_round_trip(tmp_path) -> None:
    uri = str(tmp_path / "deep" / "run.json")
    assert RunRecord.read(uri) is None
    RECORD.write(uri)
    assert RunRecord.read(uri) == RECORD


def test_run_id_time_and_versions_do_not_make_another_command() -> None:
    same = replace(RECORD, run_id="x", started="later", versions={})
    assert RECORD.differences(same) == []
    assert RECORD.spec_hash == same.spec_hash


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"command": {**RECORD.command, "top_k": 3}}, "top_k: 5 → 3"),
        ({"command": {"top_k": 5}}, 'question: ["is there a dog?"] → null'),
        ({"model": {"fingerprint": "m2"}}, 'model_fingerprint: "m1" → "m2"'),
        ({"input": {"fingerprint": "i2"}}, 'input_fingerprint: "i1" → "i2"'),
        ({"job": "tag"}, 'job: "answer" → "tag"'),
    ],
)
def test_each_difference_is_named(changed, told) -> None:
    assert RECORD.differences(replace(RECORD, **changed)) == [told]


@pytest.mark.parametrize("content", ["nonsense", "[]", '{"format": 99}'])
def test_strange_record_is_refused(tmp_path, content) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"run\.json"):
        RunRecord.read(str(path))
