"""`vqa-ray index`: an index follows its input, through changes, kills and other people's writing."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, images_input, parquet_input, picture, table
from tests.helpers.indexes import ann_of
from tests.jobs.commands import DEADLINE_S, ROOT, arguments, run_here, started
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import Index, open_index
from vqa_ray.index.recovery import shared_options
from vqa_ray.index.source_images import SourceImages
from vqa_ray.index.version import publish
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.spec.load import load
from vqa_ray.models.load import ModelOptions
from vqa_ray.runs.commits import committed_tasks
from vqa_ray.runs.lock import OutputLock

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What publishing says."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vqa_ray.jobs.index.publish")
    logger.addHandler(handler)
    yield told
    logger.removeHandler(handler)


def build(source: Path, output: Path, *more: str) -> Index:
    """Run the command, which must succeed, and open the index."""
    assert run_here("index", source, output, *more) == 0
    return open_index(str(output))


def colours(index: Index) -> dict[str, str]:
    """image_id → the colour whose text is nearest to its vector."""
    vectors, positions = index.vectors()
    nearest = (vectors @ ModelOptions("fake:").load_encoder().encode_texts(list(NAMES)).T).argmax(axis=1)
    ids = index.rows(["image_id"])["image_id"].take(pa.array(positions)).to_pylist()
    return {name: NAMES[place] for name, place in zip(ids, nearest.tolist(), strict=True)}


def truth(directory: Path) -> dict[str, str]:
    """As `colours`, by the files: picture n has the colour n."""
    by_bytes = {picture(number): NAMES[number % len(NAMES)] for number in range(60)}
    return {path.name: by_bytes[path.read_bytes()] for path in sorted(directory.glob("*.jpg"))}


def test_it_follows_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = images_input(tmp_path / "in", 20), tmp_path / "index"
    first = build(source, output)
    assert (len(first), first.version.ok, first.version.ann) == (20, 20, None)
    assert colours(first) == truth(source)
    assert first.rows()["height"].to_pylist() == [30] * 20
    assert all(first.thumbnails(range(20)))
    # The same again does nothing.
    assert build(source, output).version == first.version
    (source / "00003.jpg").unlink()
    (source / "00004.jpg").write_bytes(picture(41))
    (source / "0000a.jpg").write_bytes(picture(50))
    second = build(source, output, "--log-format", "json")
    assert colours(second) == truth(source)
    update = second.version.updates[-1]
    assert (second.version.number, update.added, update.replaced, update.removed) == (2, 1, 1, 1)
    manifest = json.loads(Path(second.layout.update(update.name).manifest).read_text())
    assert manifest["rows"] == 2, "only what is new is embedded"
    # Other readers find these rows and no others.
    loaded = datasets.load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded["image_id"]) == sorted(truth(source))
    files = [pq.read_table(path, columns=["image_id"]) for path in output.glob("**/*.parquet")]
    assert sorted(pa.concat_tables(files)["image_id"].to_pylist()) == sorted(truth(source))
    assert "20 rows: 20 ok, 0 failed." in (output / "_README.md").read_text()
    # A third version: files that neither it nor the second needs are gone, the second is still whole.
    (source / "00005.jpg").unlink()
    third = build(source, output)
    assert third.layout.version_numbers() == [2, 3]
    assert colours(open_index(str(output), 2)) == colours(second)
    assert colours(third) == truth(source)


def test_tables_with_columns_to_keep(tmp_path: Path) -> None:
    source, output = parquet_input(tmp_path / "in", 24), tmp_path / "index"
    index = build(source, output, "--keep", "colour", "--no-thumbnails")
    rows = index.rows(["image_id", "colour"]).to_pylist()
    assert colours(index) == {row["image_id"]: row["colour"] for row in rows}
    assert index.thumbnails([0, 23]) == [None, None]
    assert [row["image"] for row in SourceImages(index).read([5]).to_pylist()] == [
        picture(index.rows(["row_id"])["row_id"][5].as_py())
    ]
    pq.write_table(table(6, first=100), source / "001.parquet")
    assert sorted(
        build(source, output, "--keep", "colour", "--no-thumbnails").rows(["row_id"])["row_id"].to_pylist()
    ) == [
        *range(12),
        *range(100, 106),
    ]


def test_a_file_of_a_wider_type_comes_into_an_index(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "index"
    source.mkdir()
    for name, first, kind in (("a", 0, pa.int32()), ("b", 100, pa.int64())):
        shard = table(4, first=first)
        prices = pa.array(range(first, first + 4), kind)
        pq.write_table(
            shard.set_column(shard.schema.get_field_index("price"), "price", prices), source / f"{name}.parquet"
        )
        prices = build(source, output, "--keep", "price").rows(["price"])["price"]
    assert prices.type == pa.int32()
    assert prices.to_pylist() == [0, 1, 2, 3, 100, 101, 102, 103]


def test_what_another_command_may_not_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = parquet_input(tmp_path / "in", 8), tmp_path / "index"
    build(source, output, "--keep", "price")
    capsys.readouterr()

    def refused(*more: str, input: Path = source, to: Path = output) -> str:
        assert run_here("index", input, to, *more) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    told = refused("--keep", "price", "--model", "fake:quadrants")
    assert "--model fake:quadrants: gives 4 × 14 numbers per image; the index" in told
    assert "made with fake:, holds 1 × 14" in told
    told = refused("--keep", "price", "--no-thumbnails")
    assert "was made with other options: --thumbnails: yes → no; use those" in told
    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(table(4).set_column(4, "price", pa.array(["1", "2", "3", "4"])), other / "a.parquet")
    assert "--keep price: is string in the input and double in the index" in refused("--keep", "price", input=other)
    assert "--keep embedding: the output has a column 'embedding' of its own" in refused(
        "--keep", "embedding", input=_with_embedding(tmp_path / "e"), to=tmp_path / "new"
    )
    assert "fake:boxes" in refused("--model", "fake:boxes", to=tmp_path / "new")
    assert "4 vectors per image; these are searched exactly" in refused(
        "--model", "fake:quadrants", "--ann", "always", to=tmp_path / "new"
    )
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "letter.txt").write_text("dear")
    assert "holds files that are not of an index (letter.txt)" in refused(to=tmp_path / "papers")
    assert not (tmp_path / "new").exists()
    version = open_index(str(output)).version
    assert version.number == 1
    other_model = replace(version, number=2, model={**version.model, "reference": "clip", "fingerprint": "0a1b"})
    assert publish(IndexDirectory(str(output)), other_model)
    told = refused("--keep", "price")
    assert "--model fake:: the index" in told
    assert "was made with another model, clip; use that" in told


def _with_embedding(directory: Path) -> Path:
    directory.mkdir()
    pq.write_table(table(2).append_column("embedding", pa.array([1, 2])), directory / "a.parquet")
    return directory


def test_failed_rows_are_in_the_index_and_tried_again(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 12), tmp_path / "index"
    modified = (source / "00005.jpg").stat()
    (source / "00005.jpg").write_bytes(b"no image")
    shutil.copystat(source / "00004.jpg", source / "00005.jpg")
    assert run_here("index", source, output, "--max-error-fraction", "0.01") == 3
    index = open_index(str(output))
    assert (len(index), index.version.ok) == (12, 11)
    assert [row["image_id"] for row in index.rows().to_pylist() if row["error_code"] == "image_undecodable"] == [
        "00005.jpg"
    ]
    # The file has the size and the time it had, so that only a retry looks at it.
    (source / "00005.jpg").write_bytes(picture(5))
    again = build(source, output, "--retry-failed", "image_undecodable")
    assert (len(again), again.version.ok) == (12, 12)
    assert colours(again) == truth(source)
    assert modified.st_size == (source / "00005.jpg").stat().st_size
    number = again.version.number
    assert build(source, output, "--retry-failed").version.number == number, "nothing has failed"


def test_what_was_embedded_before_a_kill_is_not_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = images_input(tmp_path / "in", 12), tmp_path / "index"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vqa_ray.jobs.index.publish.versions.publish", killed)
        assert run_here("index", source, output) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err
    (update,) = IndexDirectory(str(output)).update_names()
    # Meanwhile two images have changed and one is new: the ten others are taken in as they are.
    (source / "00000.jpg").write_bytes(picture(30))
    (source / "00001.jpg").unlink()
    (source / "new.jpg").write_bytes(picture(31))
    index = build(source, output)
    assert colours(index) == truth(source)
    assert index.version.number == 2
    manifest = json.loads(Path(index.layout.update(index.version.updates[-1].name).manifest).read_text())
    assert manifest["rows"] == 2
    assert {file.update for file in index.version.files} == {update, index.version.updates[-1].name}
    with monkeypatch.context() as patch:
        (source / "last.jpg").write_bytes(picture(32))
        patch.setattr("vqa_ray.jobs.index.publish.versions.publish", killed)
        assert run_here("index", source, output) == 130
        patch.undo()
        patch.setattr("vqa_ray.jobs.runtime.commit.write_rows", None)
        assert colours(build(source, output)) == truth(source)


def test_a_second_writer_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = images_input(tmp_path / "in", 4), tmp_path / "index"
    layout = IndexDirectory(str(output))
    with OutputLock(layout.uri, "2026-01-01T00:00:00Z", beat_s=0.01), monkeypatch.context() as patch:
        patch.setattr("vqa_ray.runs.lock.OutputLock", partial(OutputLock, beat_s=0.1))
        assert run_here("index", source, output) == 2
    assert "is being written by process" in capsys.readouterr().err
    assert layout.version_numbers() == []
    # One that publishes although it should not: the number is taken, and what was embedded is kept.
    build(source, output)
    (source / "more.jpg").write_bytes(picture(9))
    with monkeypatch.context() as patch:
        patch.setattr("vqa_ray.jobs.index.publish.versions.publish", lambda *_: False)
        assert run_here("index", source, output) == 1
    assert "another process has published version 2 meanwhile" in capsys.readouterr().err
    monkeypatch.setattr("vqa_ray.jobs.runtime.commit.write_rows", None)
    assert colours(build(source, output)) == truth(source)


def test_an_empty_input_is_refused_unless_it_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], messages: list[str]
) -> None:
    source, output = images_input(tmp_path / "in", 4), tmp_path / "index"
    build(source, output)
    for path in source.iterdir():
        path.unlink()
    assert run_here("index", source, output) == 2
    assert "the input is empty: no files are there" in capsys.readouterr().err
    assert len(open_index(str(output))) == 4
    index = build(source, output, "--allow-empty")
    assert (len(index), index.version.ok) == (0, 0)
    assert any("the index is empty: no image has a vector" in line for line in messages)
    assert index.rows().num_rows == 0
    assert colours(open_index(str(output), 1)) == {f"{number:05}.jpg": NAMES[number] for number in range(4)}
    shutil.copytree(images_input(tmp_path / "again", 3), source, dirs_exist_ok=True)
    assert colours(build(source, output)) == truth(source)


def test_approximate_search_and_near_duplicates(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 16), tmp_path / "index"
    index = build(source, output, "--ann", "always", "--dedupe", "0.999")
    groups = pq.read_table(index.layout.duplicates(1)).to_pylist()
    assert len({row["group"] for row in groups}) == len(NAMES)
    for number in range(len(NAMES)):
        named = {row["image_id"] for row in groups if row["group"] == number}
        assert len({truth(source)[name] for name in named}) == 1
    assert ann_of(index) is not None
    assert index.version.ann is not None
    (source / "more.jpg").write_bytes(picture(17))
    later = build(source, output)
    assert later.version.ann is not None
    assert (later.version.ann.path, later.version.ann.rows) == (index.version.ann.path, 17)
    # Lost: made again from the Parquet files. Asked for: made anew.
    shutil.rmtree(Path(later.layout.path(later.version.ann.path)))
    mended = build(source, output)
    assert mended.version.ann is not None
    assert mended.version.ann.path != later.version.ann.path
    assert mended.version.files == later.version.files
    assert ann_of(mended) is not None
    rebuilt = build(source, output, "--rebuild-ann")
    assert rebuilt.version.ann is not None
    assert rebuilt.version.ann.path != mended.version.ann.path
    query = ModelOptions("fake:").load_encoder().encode_texts(["blue"])
    ((_, positions),) = ann_of(rebuilt).nearest(query, 4)  # type: ignore[union-attr]
    names = rebuilt.rows(["image_id"])["image_id"].take(pa.array(positions)).to_pylist()
    assert {truth(source)[name] for name in names} == {"blue"}
    assert build(source, output, "--ann", "never").version.ann is None


@pytest.mark.timeout(700)
def test_killed_and_run_again_gives_every_image_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    count = 300
    source, output = images_input(tmp_path / "in", count), tmp_path / "index"
    argv = arguments("index", source, output, "--rows-per-file", "20", "--batch-size", "16")
    layout = IndexDirectory(str(output))
    with started(*argv) as process:
        deadline, pause = time.monotonic() + DEADLINE_S, time.sleep
        while not any(committed_tasks(layout.update(name)) for name in layout.update_names()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            pause(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert layout.version_numbers() == []
    assert main(argv) == 0
    assert capfd.readouterr().err == ""
    index = open_index(str(output))
    assert sorted(index.rows(["image_id"])["image_id"].to_pylist()) == [f"{number:05}.jpg" for number in range(count)]
    manifest = json.loads(Path(layout.update(index.version.updates[-1].name).manifest).read_text())
    assert manifest["timing"]["rows_here"] < count
    vectors, _ = index.vectors()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_what_all_updates_of_an_index_share() -> None:
    spec = load(IndexSpec, str(ROOT / "examples" / "index.yaml"), {"keep": ["title"], "limit": 5})
    assert spec.output.startswith("s3://")
    assert shared_options(spec.command()) == {
        "dtype": None,
        "fast_decode": False,
        "allow_http": False,
        "max_image_bytes": 64 * 2**20,
        "max_image_pixels": 100_000_000,
        "keep": ["title"],
        "thumbnails": True,
    }
    assert not {"dedupe", "ann", "rebuild_ann", "output", "num_actors"} & set(spec.command())
    assert all(len(field.description or "") <= 100 for field in IndexSpec.model_fields.values())
