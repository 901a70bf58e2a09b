"""An output of ours as an input: rows of a run are read and named as such, everything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.indexes import random_vectors, write_index
from tests.unit.readers.inputs import open_at, refused, write_parquet
from vqa_ray.runs.directory import CARD, FOR_DATASETS, RunDirectory
from vqa_ray.runs.record import RunRecord


def write_output(directory: Path, job: str, columns: dict[str, list[str]]) -> Path:
    record = RunRecord("id", job, "2026-01-01T00:00:00Z", {}, {"fingerprint": "x"}, {"uri": "s3://b/photos"}, {})
    record.write(RunDirectory(str(directory)).record)
    write_parquet(directory / "part-0.parquet", columns)
    for name in (CARD, FOR_DATASETS, "_matches.pq", "gallery.html"):
        (directory / name).write_text("ours")
    return directory


def test_rows_of_a_run_are_read_and_named_and_its_bookkeeping_is_not(tmp_path: Path) -> None:
    run = write_output(tmp_path / "run", "caption", {"image_uri": ["a.jpg"], "caption": ["a dog"]})
    source = open_at(run, needs_question=False)
    assert source.notes == ("the input is the output of vqa-ray caption over s3://b/photos: its rows are read",)
    assert source.total_rows == 1


def test_a_run_within_the_input_is_no_foreign_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", {"image_uri": ["a.jpg"]})
    write_output(tmp_path / "in" / "run", "caption", {"image_uri": ["b.jpg"]})
    source = open_at(tmp_path / "in", needs_question=False)
    assert (source.total_rows, source.notes) == (1, ())


def test_a_run_without_images_names_its_own_input(tmp_path: Path) -> None:
    run = write_output(tmp_path / "run", "caption", {"caption": ["a dog"]})
    said = refused(run, needs_question=False)
    assert said.endswith(f"{run} is the output of vqa-ray caption over s3://b/photos: give that as the input")


def test_a_model_an_index_and_a_demo_are_refused(tmp_path: Path) -> None:
    model = write_output(tmp_path / "model", "finetune", {"image_uri": ["a.jpg"]})
    assert refused(model) == (
        f"{model}: is a model, trained on s3://b/photos; a model goes with --model, images with --input"
    )
    write_index(tmp_path / "index", random_vectors(4, 8))
    assert "index: is an index; expected the images it was made of" in refused(tmp_path / "index")
    write_parquet(tmp_path / "demo" / "products" / "a.parquet", {"image_uri": ["a.jpg"]})
    (tmp_path / "demo" / ".vqa-ray-demo.json").write_text(json.dumps({}))
    assert refused(tmp_path / "demo").endswith(
        f"is the output of vqa-ray demo; its images are in {tmp_path}/demo/products"
    )


@pytest.mark.parametrize("name", ["a.jpg", "a.jsonl"])
def test_an_input_that_is_also_an_output_stays_an_input(name: str, tmp_path: Path) -> None:
    run = write_output(tmp_path / "both", "caption", {"image_uri": ["a.jpg"]})
    (run / name).write_bytes(b'{"image_uri": "a.jpg"}\n')
    assert open_at(run, needs_question=False).notes == ()
