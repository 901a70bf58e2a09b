"""One place has one spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.storage.canonical import canonical_uri, is_same_place, path_below


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "real" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "link")
    return tmp_path.resolve() / "real" / "x"


@pytest.mark.parametrize("spelling", ["x", "./x", "x/", ".//x//", "../real/x", "../link/x", "x/../x/."])
def test_relative_spellings(folder: Path, spelling: str) -> None:
    assert canonical_uri(spelling) == str(folder)


def test_absolute_spellings(folder: Path) -> None:
    above = folder.parents[1]
    for spelling in (folder, f"{folder}/", f"file://{folder}", f"file://{folder}//", f"{above}/link/x", f"/{folder}"):
        assert canonical_uri(str(spelling)) == str(folder), spelling


def test_patterns_and_missing_places(folder: Path) -> None:
    assert canonical_uri("x/*.jpg") == canonical_uri(f"{folder}/*.jpg") == f"{folder}/*.jpg"
    assert canonical_uri("new/") == str(folder.parent / "new")


def test_object_stores() -> None:
    assert canonical_uri("s3://bucket/a/") == canonical_uri("s3a://bucket/a") == "s3://bucket/a"
    assert canonical_uri("s3://bucket/a//b") == "s3://bucket/a//b"
    assert not is_same_place("s3://bucket/a", "s3://bucket/b")


def test_what_lies_below(folder: Path) -> None:
    assert path_below("x/out/", ".") == "x/out"
    assert path_below("x", "x") is None
    assert path_below("xy", "x") is None
    assert path_below("s3://bucket/in/out", "s3://bucket/in/") == "out"
