"""The demo's directory: a new demo removes what an earlier one wrote, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.jobs.demo.directory import MARKER, claim, clear


def fill(place: Path, *names: str) -> None:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")


def files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


OWN = [
    "products/products-00000.parquet",
    "products/products-damaged.parquet",
    "tags/part-1-0.parquet",
    "tags/_vqa_ray/checkpoint/1.parquet",
    "answers/part-1-0.parquet",
    "answers/_vqa_ray/manifest.json",
    "tags/_README.md",
    "tags/.huggingface.yaml",
    "index/.huggingface.yaml",
    "gallery.html",
    "truth.parquet",
    "report.html",
    "evaluation/evaluation.json",
    "evaluation/rows/part-00000.parquet",
    "evaluation/_vqa_ray/evaluate.json",
]
FOREIGN = ["notes.txt"]


def test_a_new_directory_is_made_and_marked(tmp_path: Path) -> None:
    assert claim(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert files(tmp_path / "a" / "b") == {MARKER}


def test_an_earlier_demo_goes_and_everything_else_stays(tmp_path: Path) -> None:
    place = claim(str(tmp_path / "demo"))
    fill(place, *OWN, "notes.txt", "more/part-1.parquet")
    clear(claim(str(place)))
    assert files(place) == {MARKER, "notes.txt", "more/part-1.parquet"}


@pytest.mark.parametrize("name", ["tags/notes.txt", "products/mine.parquet", "answers/sub/part-0.parquet"])
def test_files_among_its_own_are_refused_before_any_is_removed(tmp_path: Path, name: str) -> None:
    place = claim(str(tmp_path / "demo"))
    fill(place, *OWN, name)
    folder, stranger = name.split("/")[:2]
    with pytest.raises(RequestError, match=rf"{folder}/ holds files that no demo made \({stranger}\); move them"):
        clear(claim(str(place)))
    assert files(place) == {MARKER, *OWN, name}


def test_a_directory_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, *OWN, *FOREIGN)
    with pytest.raises(RequestError, match=r"not of a demo \(answers, evaluation, gallery.html and 6 more\)"):
        claim(str(tmp_path))
    assert files(tmp_path) == {*OWN, *FOREIGN}


def test_a_link_to_elsewhere_is_never_followed(tmp_path: Path) -> None:
    place = claim(str(tmp_path / "demo"))
    fill(tmp_path / "elsewhere", "part-1.parquet", "_vqa_ray/manifest.json")
    (place / "tags").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="tags is a link"):
        clear(claim(str(place)))
    assert files(tmp_path / "elsewhere") == {"part-1.parquet", "_vqa_ray/manifest.json"}


def test_what_is_no_local_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="s3://bucket/demo: the demo writes to a local directory"):
        claim("s3://bucket/demo")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="cannot be written"):
        claim(str(tmp_path / "file"))
