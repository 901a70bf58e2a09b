"""`--images-from`: rows of one table, images of another place, through whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, images_input, parquet_input
from tests.jobs.commands import arguments, kill_after_first_commit, manifest, rows, run_here
from vqa_ray.jobs.cli import main
from vqa_ray.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("local_ray")

ASK = ("--question", "what colour is it?")


def _skus(path: Path, names: list[str | None]) -> str:
    """A table of products without images."""
    pq.write_table(pa.table({"sku": names, "price": [float(number) for number in range(len(names))]}), path)
    return str(path)


def _stems(directory: Path) -> list[str]:
    return sorted(file.stem for file in directory.rglob("*.jpg"))


def _colours(output: Path) -> dict[str, str]:
    table = rows(output)
    return dict(zip(table["image_id"].to_pylist(), table["answer"].to_pylist(), strict=True))


def test_rows_are_answered_with_images_of_a_folder_and_failed_ones_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = images_input(tmp_path / "photos", 8)
    wanted = {stem: NAMES[number % len(NAMES)] for number, stem in enumerate(_stems(photos))}
    late = sorted(wanted)[-1]
    names = [*reversed(wanted), "nowhere", None]
    skus = _skus(tmp_path / "skus.parquet", names)
    lone = next(file for file in photos.rglob("*.jpg") if file.stem == late)
    hidden = lone.rename(tmp_path / "late.jpg.away")
    lone.write_bytes(b"not an image")
    join = (*ASK, "--images-from", str(photos), "--images-key", "sku", "--keep", "price", "--max-error-fraction", "1")
    assert run_here("answer", skus, tmp_path / "out", *join) == 0
    assert manifest(tmp_path / "out")["errors"] == {"image_missing": 2, "image_undecodable": 1}
    assert rows(tmp_path / "out")["price"].to_pylist() == [float(number) for number in range(10)]
    lone.write_bytes(hidden.read_bytes())
    assert run_here("answer", skus, tmp_path / "out", *join, "--retry-failed") == 0
    assert manifest(tmp_path / "out")["errors"] == {"image_missing": 2}
    found = _colours(tmp_path / "out")
    assert {sku: found[sku] for sku in wanted} == wanted
    assert all(uri.endswith(".jpg") for uri in rows(tmp_path / "out")["image_uri"].drop_null().to_pylist())
    assert run_here("answer", skus, tmp_path / "out", *ASK, "--max-error-fraction", "1") == 2
    capsys.readouterr()


def test_images_in_a_table_and_in_an_index_are_found(tmp_path: Path) -> None:
    photos = parquet_input(tmp_path / "photos", 12)
    names = [f"i{number}" for number in reversed(range(12))]
    skus = _skus(tmp_path / "skus.parquet", names)
    index = tmp_path / "index"
    assert main(["index", "--input", str(photos), "--output", str(index), "--model", "fake:", "--quiet"]) == 0
    # Two images with the key i0: the first counts.
    for name, place, key in (
        ("table", photos, "sku=image_id"),
        ("index", f"index:{index}", "sku"),
    ):
        output = tmp_path / f"out-{name}"
        assert run_here("answer", skus, output, *ASK, "--images-from", str(place), "--images-key", key) == 0
        assert _colours(output) == {f"i{number}": NAMES[number % len(NAMES)] for number in range(12)}


def test_a_killed_run_goes_on_with_the_images_it_began_with(tmp_path: Path) -> None:
    photos = parquet_input(tmp_path / "photos", 200)
    skus = _skus(tmp_path / "skus.parquet", [f"i{number}" for number in range(200)] * 4)
    output = tmp_path / "out"
    more = (*ASK, "--images-from", str(photos), "--images-key", "sku=image_id", "--rows-per-file", "20")
    kill_after_first_commit(arguments("answer", skus, output, *more), RunDirectory(str(output)))
    (record,) = (output / "_vqa_ray" / "images-from").glob("*.json")
    before = json.loads(record.read_text())
    assert run_here("answer", skus, output, *more) == 0
    assert json.loads(record.read_text()) == before
    assert rows(output).num_rows == 800
    assert _colours(output) == {f"i{number}": NAMES[number % len(NAMES)] for number in range(200)}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--images-from", "photos"), "wanted both, or neither; --images-key is not given"),
        (("--images-from", "photos", "--images-key", "sku="), "wanted COLUMN, or COLUMN=THEIRS"),
        (("--images-from", "nowhere", "--images-key", "sku"), "no such file, directory or prefix"),
        (("--images-from", "index:nowhere", "--images-key", "sku"), "--images-from: nowhere"),
        (("--images-from", "photos", "--images-key", "isbn"), "no column 'isbn'"),
        (("--images-from", "table.parquet", "--images-key", "sku=isbn"), "no column 'isbn'"),
        (("--images-from", "photos", "--images-key", "sku", "--column", "image_id=sku"), "gives the id"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(
    tmp_path: Path,
    more: tuple[str, ...],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    images_input(tmp_path / "photos", 2)
    _skus(tmp_path / "skus.parquet", ["a"])
    pq.write_table(pa.table({"sku": ["a"], "image": [b"x"]}), tmp_path / "table.parquet")
    assert run_here("answer", "skus.parquet", tmp_path / "out", *ASK, *more) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
