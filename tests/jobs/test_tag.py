"""`vqa-ray tag` to Parquet, on the fake model."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, images_input, parquet_input
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray import schema
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord

pytestmark = pytest.mark.usefixtures("local_ray")

TAXONOMY = {
    "attributes": [
        {"name": "colour", "question": "what colour is it?", "choices": list(NAMES)},
        {
            "name": "motif",
            "question": "is there {choice}?",
            "choices": ["a dog", "a cat"],
            "mode": "yes_no",
            "multi": True,
        },
    ]
}


def taxonomy(tmp_path: Path, **changed: object) -> str:
    path = tmp_path / "tags.yaml"
    path.write_text(json.dumps(TAXONOMY | changed))
    return str(path)


def test_each_image_is_one_row_with_its_tags(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 12), tmp_path / "out"
    assert run_here("tag", source, output, "--tags", taxonomy(tmp_path)) == 0
    tagged = rows(output)
    assert tagged.schema.equals(schema.tag_schema([("colour", False), ("motif", True)]))
    assert tagged["colour"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(12)]
    for tags, colour in zip(tagged["tags"].to_pylist(), tagged["colour"].to_pylist(), strict=True):
        assert f"colour:{colour}" in tags
    assert manifest(output)["job"] == "tag"
    (part,) = output.glob("part-*.parquet")
    assert schema.metadata_of(pq.read_schema(part))["job"] == "tag"


def test_built_in_taxonomy_and_kept_columns(tmp_path: Path) -> None:
    assert run_here("tag", parquet_input(tmp_path / "in", 4), tmp_path / "out", "--keep", "price") == 0
    assert rows(tmp_path / "out").column_names[-1] == "price"
    assert "category" in rows(tmp_path / "out").column_names


def test_another_taxonomy_is_another_command(tmp_path: Path, capsys) -> None:
    source, output = images_input(tmp_path / "in", 4), tmp_path / "out"
    assert run_here("tag", source, output, "--tags", taxonomy(tmp_path)) == 0
    changed = taxonomy(tmp_path, attributes=TAXONOMY["attributes"][:1])
    assert run_here("tag", source, output, "--tags", changed) == 2
    assert "--tags" in capsys.readouterr().err


def test_kept_column_that_an_attribute_takes(tmp_path: Path, capsys) -> None:
    source = parquet_input(tmp_path / "in", 4)
    argv = ("--tags", taxonomy(tmp_path), "--keep", "colour")
    assert run_here("tag", source, tmp_path / "out", *argv) == 2
    assert "kept column 'colour'" in capsys.readouterr().err


def test_conditions_a_shortlist_and_a_model_of_an_attribute(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary: list[str] = []
    monkeypatch.setattr("vqa_ray.jobs.tag.logger.info", lambda text, *given: summary.append(text % given))
    source, output = images_input(tmp_path / "in", 6), tmp_path / "out"
    colour, motif = TAXONOMY["attributes"]
    attributes = [
        {**motif, "when": f"colour in [{NAMES[0]}, {NAMES[1]}]", "model": "fake:boxes"},
        {**colour, "shortlist": {"model": "fake:", "k": 2}},
    ]
    assert run_here("tag", source, output, "--tags", taxonomy(tmp_path, attributes=attributes)) == 0
    tagged = rows(output)
    assert tagged["colour"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(6)]
    asked = [colour in NAMES[:2] for colour in tagged["colour"].to_pylist()]
    assert tagged["motif_reason"].to_pylist() == [None if each else "not_asked" for each in asked]
    assert [each is not None for each in tagged["motif"].to_pylist()] == asked
    assert tagged["colour_rank"].to_pylist() == [1] * 6
    for scores in tagged["tag_scores"].to_pylist():
        assert len([each for each in scores if each["attribute"] == "colour"]) == 2
    record = RunRecord.read(RunDirectory(str(output)).record)
    assert record is not None
    assert record.command["tags_models"] == {"fake:": "fake-1", "fake:boxes": "fake-1"}
    assert summary[0].startswith(
        "  attribute 'colour': the best choice was first in its shortlist for 100.0 % of 6 images, in the last"
    )
    again = taxonomy(tmp_path, attributes=[{**attributes[0], "when": "colour = nothing"}, attributes[1]])
    assert run_here("tag", source, tmp_path / "other", "--tags", again) == 2
    assert "attribute 'motif': when: attribute 'colour' has no choice 'nothing'" in capsys.readouterr().err
