from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vqa_ray.catalog import write
from vqa_ray.catalog.captions import captions_for
from vqa_ray.catalog.product import sample_product
from vqa_ray.catalog.questions import KINDS
from vqa_ray.catalog.render import encode, render
from vqa_ray.catalog.rows import rows_of
from vqa_ray.catalog.write import FORMATS, write_catalogue
from vqa_ray.errors import RequestError
from vqa_ray.readers.listing import guess_format, list_input

COUNT, SEED, PER_SHARD = 7, 31, 3
TRUTH = ("category", "colour", "pattern", "motif")


def read_parquet(shards: list[str]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        yield from pq.read_table(shard).to_pylist()


def read_tar(shards: list[str]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = {member.name: tar.extractfile(member) for member in tar}
            data = {name: file.read() for name, file in members.items() if file is not None}
        for name, body in data.items():
            key, extension = name.split(".")
            if extension == "json":
                (image,) = (data[n] for n in data if n.split(".")[0] == key and not n.endswith(".json"))
                yield {"key": key, "image": image, **json.loads(body)}


def read_lines(shards: list[str]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        for line in Path(shard).read_text().splitlines():
            row = json.loads(line)
            yield {**row, "image": (Path(shard).parent / row.pop("image_uri")).read_bytes()}


def read_images(shards: list[str]) -> Iterator[dict[str, Any]]:
    """Give the truth of image files, which names them as their reader does, the ids that the other formats have."""
    for number, row in enumerate(read_lines(shards)):
        assert "row_id" not in row
        yield {**row, "row_id": number, "image_id": Path(row["image_id"]).stem}


READ = {"parquet": read_parquet, "webdataset": read_tar, "jsonl": read_lines, "images": read_images}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_the_catalogue(format: str, tmp_path: Path) -> None:
    shards = write_catalogue(COUNT, SEED, str(tmp_path / "out"), format, PER_SHARD)
    assert len(shards) == 3
    rows = list(READ[format](shards))
    assert [row["row_id"] for row in rows] == list(range(COUNT))
    for row in rows:
        product = sample_product(SEED, row["row_id"])
        assert row["image_id"] == product.image_id
        assert {name: row[name] for name in TRUTH} == {name: getattr(product, name) for name in TRUTH}
        assert row["image"] == encode(product, render(product))
        Image.open(io.BytesIO(row["image"])).verify()


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "images"])
def test_questions_give_a_row_each(format: str, tmp_path: Path) -> None:
    shards = write_catalogue(COUNT, SEED, str(tmp_path / "out"), format, PER_SHARD, questions=3)
    rows = list(READ[format](shards))
    assert {row["answer"] for row in rows} <= set((tmp_path / "out" / "_answers.txt").read_text().splitlines())
    assert sorted(row["row_id"] for row in rows) == list(range(3 * COUNT))
    assert len({row["question_id"] for row in rows}) == 3 * COUNT
    for row in rows:
        assert row["question"].endswith("?")
        assert row["annotator_answers"] == [row["answer"]]
        product = sample_product(SEED, row["row_id"] // 3)
        assert row["question_id"].startswith(f"{product.image_id}-q")
        if not row["kind"].startswith("is_"):
            assert row["answer"] == (getattr(product, row["kind"]) or "nothing")
    for product_id in {row["image_id"] for row in rows}:
        assert len({row["kind"] for row in rows if row["image_id"] == product_id}) == 3


def test_few_questions_still_ask_every_kind_equally_often() -> None:
    kinds = Counter(row["kind"] for index in range(800) for row in rows_of(sample_product(1, index), 2))
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 150


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_request_writes_the_same_bytes(format: str, tmp_path: Path) -> None:
    def snapshot(place: Path) -> dict[str, bytes]:
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    one, other = tmp_path / "one", tmp_path / "other"
    write_catalogue(4, 2, str(one), format, 2)
    write_catalogue(4, 2, str(other), format, 2)
    first = snapshot(one)
    assert first == snapshot(other)
    write_catalogue(4, 2, str(one), format, 2)
    assert first == snapshot(one)


def test_the_truth_is_hidden_from_readers_of_images(tmp_path: Path) -> None:
    write_catalogue(5, 2, str(tmp_path), "images", 2)
    listed = list_input(str(tmp_path))
    assert guess_format(listed) == "images"
    assert len(listed.entries) == 5
    # Named by itself it is read, and what another program wrote is not hidden for its name.
    assert guess_format(list_input(f"{tmp_path}/_truth-*.jsonl")) == "jsonl"
    (tmp_path / "_catalog.json").unlink()
    with pytest.raises(RequestError, match="files of several formats"):
        guess_format(list_input(str(tmp_path)))


def test_any_filesystem_will_do() -> None:
    (shard,) = write_catalogue(3, 2, "memory://catalogue-test/out", "parquet")
    with fsspec.open(shard) as file:
        assert pq.read_table(file).num_rows == 3


def test_one_shard_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = peak = 0

    class Drawn(write._Drawn):
        def __init__(self, *fields: Any) -> None:
            nonlocal alive, peak
            super().__init__(*fields)
            alive += 1
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr(write, "_Drawn", Drawn)
    write_catalogue(12, 1, str(tmp_path), "parquet", 2)
    assert peak == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "--count 0: allowed is 1 to"),
        ({"count": -3}, "--count -3: allowed is 1 to "),
        ({"seed": -1}, "--seed -1: allowed is 0 to"),
        ({"rows_per_shard": 0}, "--rows-per-shard 0: allowed is 1 to"),
        ({"questions": -1}, "--questions -1: allowed is 0 to"),
        ({"format": "csv"}, "--format csv: unknown format; wanted one of parquet, webdataset, jsonl, images"),
        ({"format": "images", "questions": 2}, "image files cannot carry questions"),
        ({"output_uri": "nowhere://there"}, "nowhere"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    request = {"count": 3, "seed": 1, "output_uri": str(tmp_path / "out"), "format": "parquet", **change}
    with pytest.raises(RequestError, match=message) as refused:
        write_catalogue(**request)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_of_two_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and claiming, another one claims the place."""
    real = write.create

    def late(uri: str, data: bytes) -> bool:
        monkeypatch.setattr(write, "create", real)
        write_catalogue(3, 1, str(tmp_path), "parquet")
        return real(uri, data)

    monkeypatch.setattr(write, "create", late)
    with pytest.raises(RequestError, match="holds another catalogue \\(seed 1 → 2\\)"):
        write_catalogue(3, 2, str(tmp_path), "parquet")


def test_another_catalogue_is_not_overwritten(tmp_path: Path) -> None:
    write_catalogue(3, 1, str(tmp_path), "parquet")
    with pytest.raises(RequestError, match="holds another catalogue \\(count 3 → 2\\)"):
        write_catalogue(2, 1, str(tmp_path), "parquet")
    assert pq.read_table(tmp_path / "products-00000.parquet").num_rows == 3


def test_other_files_are_not_mixed_with(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(RequestError, match="holds files that are not of a catalogue"):
        write_catalogue(2, 1, str(tmp_path), "parquet")


def test_a_note_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "_catalog.json").write_text("{")
    with pytest.raises(RequestError, match=r"_catalog\.json: is not JSON"):
        write_catalogue(2, 1, str(tmp_path), "parquet")


def test_an_output_that_cannot_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequestError, match="cannot be written"):
        write_catalogue(2, 1, str(tmp_path / "file" / "out"), "parquet")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [1, 3])
def test_captions_are_a_column(format: str, count: int, tmp_path: Path) -> None:
    rows = list(READ[format](write_catalogue(COUNT, SEED, str(tmp_path / "out"), format, PER_SHARD, captions=count)))
    assert len(rows) == COUNT
    for row in rows:
        wanted = captions_for(sample_product(SEED, row["row_id"]), count)
        assert row["caption"] == (wanted if count > 1 else wanted[0])


def test_captions_make_another_catalogue_and_none_the_one_there_was(tmp_path: Path) -> None:
    write_catalogue(2, 1, str(tmp_path / "without"), "jsonl")
    assert "captions" not in json.loads((tmp_path / "without" / "_catalog.json").read_text())
    with pytest.raises(RequestError, match="captions None → 2"):
        write_catalogue(2, 1, str(tmp_path / "without"), "jsonl", captions=2)
    write_catalogue(2, 1, str(tmp_path / "with"), "jsonl", captions=2)
    with pytest.raises(RequestError, match="captions 2 → None"):
        write_catalogue(2, 1, str(tmp_path / "with"), "jsonl")
    with pytest.raises(RequestError, match="--captions 101: allowed is 0 to 100"):
        write_catalogue(2, 1, str(tmp_path / "many"), "jsonl", captions=101)


def test_the_truth_of_image_files_has_the_ids_that_their_reader_gives(tmp_path: Path) -> None:
    (shard,) = write_catalogue(3, SEED, str(tmp_path), "images")
    truth = [json.loads(line) for line in Path(shard).read_text().splitlines()]
    assert sorted(row["image_id"] for row in truth) == sorted(p.name for p in tmp_path.iterdir() if p.name[0] != "_")
    assert all("row_id" not in row for row in truth)
