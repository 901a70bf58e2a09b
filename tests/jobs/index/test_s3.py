"""An index on object storage: built, brought up to date, searched approximately, published once."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from tests.helpers.coloured import images_input, picture
from tests.helpers.indexes import ann_of
from tests.jobs.commands import run_here
from tests.jobs.index.test_command import colours, truth
from tests.jobs.test_s3 import upload
from vqa_ray.errors import RequestError
from vqa_ray.index import version as versions
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import open_index
from vqa_ray.runs.lock import OutputLock
from vqa_ray.storage.atomic import create, write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes

pytestmark = pytest.mark.usefixtures("local_ray")


def test_from_a_bucket_to_a_bucket(tmp_path: Path, s3_session: str) -> None:
    local = images_input(tmp_path / "in", 12)
    source, output = upload(local, f"{s3_session}/index/in"), f"{s3_session}/index/out"
    assert run_here("index", source, output, "--ann", "always") == 0
    first = open_index(output)
    assert colours(first) == truth(local)
    assert ann_of(first) is not None
    (local / "00002.jpg").unlink()
    (local / "00003.jpg").write_bytes(picture(44))
    fsspec.filesystem("s3").rm(f"{source}/00002.jpg")
    write_bytes_atomic(f"{source}/00003.jpg", picture(44))
    for name in ("0000a.jpg", "b.jpg"):
        (local / name).write_bytes(picture(45))
        write_bytes_atomic(f"{source}/{name}", picture(45))
    assert run_here("index", source, output) == 0
    second = open_index(output)
    assert colours(second) == truth(local)
    assert (second.version.updates[-1].added, second.version.updates[-1].replaced) == (2, 1)
    assert ann_of(second) is not None
    vectors, positions = second.vectors()
    ((_, found),) = ann_of(second).nearest(vectors[:1], 1)
    assert found[0] == positions[0]
    # Of the previous version nothing is lost; of older ones nothing is left.
    assert len(open_index(output, 1)) == 12
    fsspec.filesystem("s3").rm(f"{source}/00004.jpg")
    assert run_here("index", source, output, "--ann", "never") == 0
    with pytest.raises(RequestError, match="no version 1; the versions are: 2, 3"):
        open_index(output, 1)
    assert second.layout.ann_paths() == [second.version.ann.path]  # type: ignore[union-attr]
    # One object that is gone: the version before is used.
    third = open_index(output).version
    (new,) = {file.path for file in third.files} - {file.path for file in second.version.files}
    fsspec.filesystem("s3").rm(f"{output}/{new}")
    assert open_index(output).version == second.version


def test_a_file_is_created_once(s3_session: str) -> None:
    uri = f"{s3_session}/exclusive/version.json"
    assert create(uri, b"first")
    assert not create(uri, b"second")
    assert create(uri, b"first"), "a request that was repeated after its answer was lost"
    assert read_bytes(uri) == b"first"


def test_one_writer_in_a_bucket(s3_session: str) -> None:
    layout = IndexDirectory(f"{s3_session}/writers")
    with (
        OutputLock(layout.uri, "2026-01-01T00:00:00Z", beat_s=0.05),
        pytest.raises(RequestError, match="being written by process"),
    ):
        OutputLock(layout.uri, "2026-01-01T00:00:00Z", beat_s=1.0).__enter__()
    with OutputLock(layout.uri, "2026-01-01T00:00:00Z") as later:
        later.check()
    assert versions.latest(layout) is None
