from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.storage.atomic import create


def test_one_gets_the_name(tmp_path: Path) -> None:
    assert create(str(tmp_path / "a" / "b"), b"1")
    assert not create(str(tmp_path / "a" / "b"), b"2")
    assert (tmp_path / "a" / "b").read_bytes() == b"1"


@pytest.mark.parametrize("place", ["link", "link/below", "file/below"])
def test_where_no_directory_can_be_nothing_is_taken(place: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        create(str(tmp_path / place / "name"), b"1")
