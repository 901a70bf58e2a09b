"""Files are listed whatever their names and forms: nothing is left out but known bookkeeping, or it is counted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.pictures import encoded, photo
from tests.helpers.s3 import s3_bucket
from tests.unit.readers.inputs import asked, open_at, read, refused, rows_of, tar_bytes, write_parquet
from vqa_ray.readers.bookkeeping import is_bookkeeping
from vqa_ray.readers.listing import list_input
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.local_files import find_local, name_as_text, text_as_name
from vqa_ray.storage.uri import join

JPEG, PNG = encoded(photo(16, 12), "JPEG"), encoded(photo(16, 12), "PNG")
JSONL = b'{"image_uri": "a.jpg", "question": "q"}\n'


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("names") as uri:
        yield uri


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "in") if request.param == "local" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def put(root: str, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        write_bytes_atomic(join(root, name), data)
    return root


def names(root: str, pattern: str = "", **options: str) -> list[str]:
    source = open_at(join(root, pattern) if pattern else root, needs_question=False, **options)
    return [row["image_id"] for row in rows_of(source)]


def test_only_bookkeeping_is_left_out_in_silence(root: str) -> None:
    kept = ["#1.jpg", "%41.jpg", ".hidden/a.jpg", "B C.jpg", "_DSC1.JPG", "_out/b.jpg", "q?.jpg"]
    # The S3 server of the tests knows no line ends in names.
    kept += [] if "://" in root else ["zwei\nZeilen.jpg"]
    left = [".DS_Store", "._B C.jpg", "Thumbs.db", "__MACOSX/._a.jpg", "_SUCCESS", "_committed_12", "_delta_log/1.jpg"]
    left += [".ipynb_checkpoints/a-checkpoint.jpg", "_temporary/0/x.jpg", ".git/objects/x.jpg", "desktop.ini"]
    put(root, dict.fromkeys((*kept, *left), JPEG))
    source = open_at(root, needs_question=False)
    assert [row["image_id"] for row in rows_of(source)] == sorted(kept)
    assert source.notes == ()
    assert all(read_bytes(row["image_uri"]) == JPEG for row in rows_of(source))


def test_the_rest_is_counted_with_an_example(root: str) -> None:
    put(root, {"a.jpg": JPEG, "a.svg": b"<svg/>", **{f"d/{i}.TXT": b"x" for i in range(3)}, "none": b"text"})
    assert open_at(root, needs_question=False).notes == (
        "5 files were left out: 3 × .txt (for example 0.TXT), 1 × .svg (for example a.svg), "
        "1 × no suffix (for example none)",
    )


def test_empty_files_are_told(root: str) -> None:
    put(root, {"a.jsonl": JSONL, "b.jsonl": b"", "c.jpg": b""})
    assert open_at(root, format="jsonl").notes == (
        "1 image files lie beside the jsonl files; those that a row names are read, others are not",
        "1 file was left out: 1 × .jsonl, empty (for example b.jsonl)",
    )


def test_patterns_name_bookkeeping_and_hidden_files(root: str) -> None:
    put(root, dict.fromkeys(("_DSC1.JPG", "a.jpg", "._a.jpg", ".cache/b.jpg", "_temporary/c.jpg"), JPEG))
    assert names(root, "_DSC*.JPG") == ["_DSC1.JPG"]
    assert names(root, "*.jpg") == ["a.jpg"]
    assert names(root, "**/*.jpg") == ["a.jpg"]
    assert names(root, "._*") == ["._a.jpg"]
    assert names(root, ".cache/*") == ["b.jpg"]
    assert names(root, "_temp*/c.jpg") == ["_temporary/c.jpg"]


def test_a_file_that_is_named_is_read_whatever_it_is_called(root: str) -> None:
    put(root, {"._a": JPEG, "_SUCCESS": JSONL, "Thumbs.db": tar_bytes([("a.jpg", JPEG)])})
    assert open_at(join(root, "._a"), needs_question=False).format == "images"
    assert open_at(join(root, "_SUCCESS")).format == "jsonl"
    assert open_at(join(root, "Thumbs.db"), needs_question=False).format == "webdataset"


def test_contents_tell_the_format_where_names_do_not(root: str, tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "t", {"image": [PNG]}).read_bytes()
    query = "20240701_144951_00037_v74wa_{}ad6f92e"
    put(root, {f"athena/{query.format(i)}": table for i in range(2)})
    put(root, {f"hashed/{i:032x}": JPEG for i in range(3)} | {"hashed/LICENSE": b"free"})
    put(root, {"odd/a.jpg": JPEG, "odd/b.jpg_large": JPEG, "odd/c.jpg:orig": PNG})
    put(root, {"spark/part-0.json": JSONL, "spark/part-1.json": JSONL, "spark/_SUCCESS": b""})
    put(root, {"tars/0": tar_bytes([("a.jpg", JPEG)])})
    for kind in (None, "parquet"):
        assert open_at(join(root, "athena"), format=kind, needs_question=False).total_rows == 2
        assert open_at(join(root, "athena", "2024*"), format=kind, needs_question=False).total_rows == 2
    for kind in (None, "images"):
        source = open_at(join(root, "hashed"), format=kind, needs_question=False)
        assert source.total_rows == 3
        assert source.notes == ("1 file was left out: 1 × no suffix (for example LICENSE)",)
        assert names(join(root, "odd"), format=kind) == ["a.jpg", "b.jpg_large", "c.jpg:orig"]  # type: ignore[arg-type]
    for kind in (None, "jsonl"):
        assert len(read(join(root, "spark"), format=kind)) == 2
    assert open_at(join(root, "tars"), needs_question=False).format == "webdataset"


def test_a_format_that_is_given_finds_its_files_under_any_suffix(tmp_path: Path) -> None:
    put(str(tmp_path), {"a/data.txt": b"image_uri,question\na.jpg,q\n", "b/data.txt": JSONL, "c/x.dat": JPEG})
    assert len(read(tmp_path / "a", format="csv")) == 1
    assert len(read(tmp_path / "b", format="jsonl")) == 1
    assert len(read(tmp_path / "c", format="images", needs_question=False)) == 1
    assert refused(tmp_path / "a", format="images", needs_question=False).endswith(
        "holds no images files; found 1 × .txt"
    )


def test_a_pattern_with_a_format_reads_all_that_it_names(tmp_path: Path) -> None:
    put(str(tmp_path), {"a.x": JPEG, "b.x": b"no image", "c.jpg": JPEG})
    assert names(str(tmp_path), "*.x", format="images") == ["a.x", "b.x"]


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst", ".xz"])
def test_compression_is_told_by_content(tmp_path: Path, compression: str, suffix: str) -> None:
    packed = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    }
    pack = packed[compression]
    put(str(tmp_path / "j"), {f"a.jsonl{suffix}": pack(JSONL * 2)})
    put(str(tmp_path / "c"), {f"a.csv{suffix}": pack(b"image_uri,question\na.jpg,q\nb.jpg,r\n")})
    put(str(tmp_path / "t"), {f"a.tar{suffix}": pack(tar_bytes([("a.jpg", JPEG), ("a.json", asked("q"))]))})
    for name, rows in (("j", 2), ("c", 2), ("t", 1)):
        found = read(tmp_path / name)
        assert [(row["status"], row["questions"]) for row in found][:1] == [("ok", ["q"])]
        assert len(found) == rows


def test_a_gz_that_is_none_is_read(tmp_path: Path) -> None:
    put(str(tmp_path), {"a.jsonl.gz": JSONL})
    assert len(read(tmp_path)) == 1


def test_links_pipes_and_loops(tmp_path: Path) -> None:
    put(str(tmp_path), {"a.jpg": JPEG})
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "again").symlink_to(".")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(str(tmp_path)) == ["a.jpg", "link.jpg", "pipe.jpg", "self.jpg"]
    os.mkfifo(tmp_path / "pipe.parquet")
    assert "not a regular file" in refused(tmp_path / "pipe.parquet")


def test_directory_markers_of_stores_are_no_files(bucket: str) -> None:
    import fsspec

    store = fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for name, data in {"m/": b"", "m/d": b"", "m/d/a.jpg": JPEG, "m/e_$folder$": b""}.items():
        store.call_s3("put_object", Bucket="names", Key=name, Body=data)
    assert names(f"{bucket}/m") == ["d/a.jpg"]


def test_names_that_are_not_utf8_are_escaped_and_read(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    for name in (b"ok.jpg", b"caf\xe9.jpg", b"caf\\xe9.jpg", b"d\xff/a.jpg"):
        (Path(os.fsdecode(raw + b"/" + name))).parent.mkdir(exist_ok=True)
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(JPEG + name)
    rows = read(tmp_path, needs_question=False)
    assert [row["image_id"] for row in rows] == ["caf\\x5cxe9.jpg", "caf\\xe9.jpg", "d\\xff/a.jpg", "ok.jpg"]
    found = [read_bytes(row["image_uri"]).removeprefix(JPEG) for row in rows]
    assert found == [b"caf\\xe9.jpg", b"caf\xe9.jpg", b"d\xff/a.jpg", b"ok.jpg"]
    for spelled in (os.fsdecode(raw + b"/d\xff"), f"{tmp_path}/d\\xff", f"file://{tmp_path}/d%FF"):
        (row,) = read(spelled, needs_question=False)
        assert row["image_uri"] == f"{tmp_path}/d\\xff/a.jpg"


def test_both_normal_forms_of_unicode_name_a_file(tmp_path: Path, bucket: str) -> None:
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    for root in (str(tmp_path), f"{bucket}/forms"):
        put(root, {decomposed: JPEG})
        assert read_bytes(join(root, composed)) == JPEG
        assert names(root, "caf\u00e9*") == [decomposed]
    (tmp_path / composed).write_bytes(PNG)
    assert names(str(tmp_path)) == sorted([composed, decomposed])
    assert read_bytes(join(str(tmp_path), composed)) == PNG


_NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))


@given(_NAMES)
def test_any_name_becomes_text_and_comes_back(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = name_as_text(name)
    text.encode()
    assert text_as_name(text) == name


@given(st.sets(_NAMES, min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_any_name_is_listed_exactly_once(tmp_path_factory: pytest.TempPathFactory, raws: set[bytes]) -> None:
    directory = tmp_path_factory.mktemp("any")
    wanted = {os.fsdecode(raw) + ".jpg" for raw in raws}
    for name in wanted:
        (directory / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    listing = list_input(str(directory))
    found = [find_local(entry.uri).rpartition("/")[2] for entry in listing.entries]
    assert sorted(found) == sorted(name for name in wanted if not is_bookkeeping(name_as_text(name)))
    assert all(
        read_bytes(entry.uri) == found[i].encode("utf-8", "surrogateescape") for i, entry in enumerate(listing.entries)
    )
