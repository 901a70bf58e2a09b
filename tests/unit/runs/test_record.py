"""Whether a command is told apart from the one an output was made with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.runs.record import RunRecord

INPUT = {"uri": "in", "place": "/in", "format": "images", "fingerprint": "i1"}
RECORD = RunRecord(
    run_id="abc",
    job="answer",
    started="2026-01-02T03:04:05Z",
    command={"question": ["is there a dog?"], "top_k": 5},
    model={"reference": "fake:", "fingerprint": "m1"},
    input=INPUT,
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


def changed(**fields: object) -> RunRecord:
    return replace(RECORD, command={**RECORD.command, **fields})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (changed(top_k=3), "--top-k: 5 → 3"),
        (changed(question=None), '--question: ["is there a dog?"] → not given'),
        (changed(fast_decode=True), "--fast-decode: not given → yes"),
        (changed(columns={"question": "q"}), '--column: not given → {"question": "q"}'),
        (changed(tags_fingerprint="t2", tags="b.yaml"), "--tags: not given → b.yaml"),
        (replace(RECORD, model={"reference": "b", "fingerprint": "m2"}), "--model: fake: → b"),
        (
            replace(RECORD, model={"reference": "fake:", "fingerprint": "m2"}),
            "--model fake:: its contents have changed since",
        ),
        (replace(RECORD, input={**INPUT, "place": "/else"}), "--input: /in → /else"),
        (replace(RECORD, input={**INPUT, "format": "csv"}), "--input-format: images → csv"),
        (replace(RECORD, job="tag"), "it is a run of `answer`, not of `tag`"),
    ],
)
def test_each_difference_is_told_by_its_option(other: RunRecord, told: str) -> None:
    assert RECORD.differences(other) == [told]


@pytest.mark.parametrize(
    "same",
    [
        changed(input="./in"),
        replace(RECORD, input={**INPUT, "uri": "./in/", "fingerprint": "i2"}),
        replace(changed(model="./m"), model={"reference": "./m", "fingerprint": "m1"}),
        changed(input_format="images"),
    ],
)
def test_the_spelling_of_a_place_makes_no_difference(same: RunRecord) -> None:
    assert RECORD.differences(same) == []


def test_a_taxonomy_is_its_contents() -> None:
    one = changed(tags="tags.yaml", tags_fingerprint="t1")
    assert one.differences(changed(tags="./tags.yaml", tags_fingerprint="t1")) == []
    assert one.differences(changed(tags="tags.yaml", tags_fingerprint="t2")) == [
        "--tags tags.yaml: its contents have changed since"
    ]


def test_a_record_of_d8ecede_is_known_by_the_fingerprint_of_its_files() -> None:
    old = replace(RECORD, input={"uri": "in", "format": "images", "fingerprint": "i1"})
    assert old.differences(RECORD) == []
    (told,) = old.differences(replace(RECORD, input={**INPUT, "fingerprint": "i2"}))
    assert told.startswith("--input in: its files are not those that the run began with")
    (told,) = old.differences(replace(RECORD, input={**INPUT, "uri": "other", "fingerprint": "i2"}))
    assert told == "--input: in → other"


@pytest.mark.parametrize("content", ["nonsense", "[]", '{"format": 99}'])
def test_strange_record_is_refused(tmp_path, content) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"run\.json"):
        RunRecord.read(str(path))
