from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.readers.inputs import refused, write_parquet
from vqa_ray.errors import RequestError
from vqa_ray.readers.listing import absolute, guess_format, list_input
from vqa_ray.readers.patterns import expand_braces
from vqa_ray.readers.suffixes import kind_of

FORMATS = "choose with --input-format: parquet, webdataset, jsonl, csv, images, pdf, vqa-v2, hf"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", "parquet"),
        ("a.tar", "webdataset"),
        ("a.tar.gz", "webdataset"),
        ("a.TGZ", "webdataset"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.csv", "csv"),
        ("a.tsv", "csv"),
        ("v2_OpenEnded_mscoco_val2014_questions.json", "vqa-v2"),
        ("a.JPeG", "images"),
        ("a.json", None),
        ("jpg", None),
        ("a.txt", None),
    ],
)
def test_kinds(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("names", "guessed"),
    [
        (["part-0.parquet", "_SUCCESS", "README.md"], "parquet"),
        (["data/train-00000-of-00001.parquet", "README.md"], "hf"),
        (["dataset_dict.json", "train/state.json"], "hf"),
        (["dataset_info.json", "state.json", "data-00000-of-00001.arrow"], "hf"),
        (["a/0.tar", "b/1.tar"], "webdataset"),
        (["x/1.jpg", "x/notes.txt"], "images"),
        (["v2_OpenEnded_mscoco_val2014_questions.json"], "vqa-v2"),
    ],
)
def test_directories_are_guessed(tmp_path: Path, names: list[str], guessed: str) -> None:
    assert guess_format(list_input(str(touch(tmp_path, *names)))) == guessed


def test_what_cannot_be_guessed_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "mixed", "1.jpg", "2.jpg", "a.jsonl")
    assert refused(tmp_path / "mixed") == (
        f"{tmp_path}/mixed: holds files of several formats (2 images, 1 jsonl); {FORMATS}"
    )
    touch(tmp_path / "unknown", "1.txt", "2.txt", "data.json", "LICENSE")
    assert refused(tmp_path / "unknown") == (
        f"{tmp_path}/unknown: cannot tell the format; found 2 × .txt, 1 × no suffix, 1 × .json; {FORMATS}"
    )
    assert refused(tmp_path / "unknown/data.json") == (
        f"{tmp_path}/unknown/data.json: none of the first lines is a JSON object; is this really JSON lines?"
    )
    assert refused(tmp_path / "nothing") == f"{tmp_path}/nothing: no such file, directory or prefix"
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty") == f"{tmp_path}/empty: the input is empty: no files are there"
    assert refused(tmp_path / "*.csv") == f"{tmp_path}/*.csv: no file matches the pattern"
    assert refused(tmp_path, format="excel") == (
        "--input-format 'excel' is unknown; allowed are parquet, webdataset, jsonl, csv, images, pdf, vqa-v2, hf, lance"
        ", pope, mme, mmbench, mmbench-circular, seed-bench, gqa, textvqa, vizwiz, scienceqa, mmmu, mathvista, ai2d"
        ", docvqa, chartqa, ocrbench"
    )
    assert (
        refused(tmp_path / "mixed", format="csv") == f"{tmp_path}/mixed: holds no csv files; found 2 × .jpg, 1 × .jsonl"
    )
    assert refused("nope://x/y").startswith("nope://x/y: unknown scheme 'nope'")


def test_a_format_that_is_given_takes_its_files_or_the_one_file(tmp_path: Path) -> None:
    listing = list_input(str(touch(tmp_path, "1.jpg", "a.jsonl", "b.jsonl")))
    assert [listing.relative(entry) for entry in listing.of("jsonl")] == ["a.jsonl", "b.jsonl"]
    single = list_input(str(touch(tmp_path, "data.json") / "data.json"))
    assert [single.relative(entry) for entry in single.of("jsonl")] == ["data.json"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tar", ["0.tar", "1.tar"]),
        ("**/*.tar", ["0.tar", "1.tar", "d/2.tar", "d/e/3.tar"]),
        ("d/**", ["d/2.tar", "d/e/3.tar"]),
        ("?.tar", ["0.tar", "1.tar"]),
        ("[!0].tar", ["1.tar"]),
        ("{0,1}.tar", ["0.tar", "1.tar"]),
        ("{0..1}.tar", ["0.tar", "1.tar"]),
        ("{0,d/2}.tar", ["0.tar", "d/2.tar"]),
        ("d*", ["d/2.tar", "d/e/3.tar"]),
        ("d/{e,x}*", ["d/e/3.tar"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    touch(tmp_path, "0.tar", "1.tar", "d/2.tar", "d/e/3.tar", "_delta_log/4.tar", "10.txt")
    listing = list_input(f"{tmp_path}/{pattern}")
    assert [entry.uri for entry in listing.entries] == [f"{tmp_path}/{name}" for name in found]
    assert all(entry.uri.startswith(listing.root + "/") for entry in listing.entries)


def test_a_missing_file_of_a_brace_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "0.tar")
    assert refused(f"{tmp_path}/{{0..2}}.tar") == f"{tmp_path}/1.tar: no such file, directory or prefix"


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].tar", "#b.tar")
    assert len(list_input(f"{tmp_path}/a[1].tar").entries) == 1
    assert list_input(f"{tmp_path}/#b.tar").fragment == ""


def test_braces() -> None:
    assert list(expand_braces("a-{008..010}-{x,y}")) == [f"a-{n}-{s}" for n in ("008", "009", "010") for s in "xy"]
    assert list(expand_braces("plain")) == ["plain"]


def test_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b/") == f"{tmp_path}/b"
    assert absolute(f"file://{tmp_path}/x") == f"{tmp_path}/x"
    assert absolute("s3://bucket/a/") == "s3://bucket/a"
    touch(tmp_path, "d/1.jpg", "d/._x.jpg")
    for spelled in ("d", "./d/", "x/../d", f"file://{tmp_path}/d"):
        listing = list_input(spelled)
        assert [listing.relative(entry) for entry in listing.entries] == ["1.jpg"]
    with pytest.raises(RequestError):
        list_input("x")


@pytest.mark.filterwarnings("error")
def test_sets_of_characters_are_taken_literally(tmp_path: Path) -> None:
    touch(tmp_path, "[.tar", "&.tar", "^.tar", "a.tar")
    for pattern, found in (("[[].tar", "["), ("[a&&].tar", "&a"), ("[^].tar", "^"), ("[!a^].tar", "&[")):
        assert [entry.uri[-5] for entry in list_input(f"{tmp_path}/{pattern}").entries] == list(found)


def test_a_range_that_runs_backwards_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.tar")
    assert refused(f"{tmp_path}/[z-a].tar") == "the pattern '[z-a].tar' cannot be read: bad character range z-a"


def test_a_split_of_what_has_none_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", {"image": [b"i"]})
    assert refused(f"{tmp_path}/in#train", questions=("q",)) == (
        f"{tmp_path}/in#train: #train names a split of a dataset, and this is read as parquet; name the files of the "
        "split, by a pattern for instance"
    )
