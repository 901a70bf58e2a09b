"""Work on a table is repeated where a library or its store fails, and a refusal of ours is final."""

from __future__ import annotations

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.publish.target import parse_target
from vqa_ray.readers.lake_tables import parse_table, table_files
from vqa_ray.storage import lake_storage
from vqa_ray.storage.lake_storage import patiently


class Work:
    """Work that raises each of `errors` and then gives its number of calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def _of_a_library() -> RequestError:
    error = RequestError("cannot be read")
    error.__cause__ = ValueError("Kernel error: No table metadata or protocol found in delta log.")
    return error


def test_what_fails_in_passing_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    pauses: list[float] = []
    work = Work(
        OSError("error reading a body"),
        _of_a_library(),
        RuntimeError("LanceError(IO): Generic memory error: Invalid range"),
    )
    assert patiently(work, "--to delta:s3://b/t", "s3://b/t", sleep=pauses.append) == 4
    assert pauses == [1, 2, 4]
    assert "--to delta:s3://b/t: error reading a body; again in 1 s" in caplog.text


def test_what_goes_on_failing_is_raised_as_it_was() -> None:
    work = Work(*[OSError(number) for number in range(9)])
    with pytest.raises(OSError, match="4"):
        patiently(work, "t", "s3://b/t", sleep=lambda _: None)
    assert work.calls == 5


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("s3://b/t", RequestError("no such column")),
        ("s3://b/t", ValueError("URI missing, please provide using --uri")),
        ("s3://b/t", FileNotFoundError(2, "no such file")),
        ("/tmp/t", OSError("disk")),
        ("file:///tmp/t", OSError("disk")),
        ("shop.photos.tags", OSError("disk")),
    ],
)
def test_what_no_store_is_to_blame_for_is_raised_at_once(uri: str, error: Exception) -> None:
    work = Work(error)
    with pytest.raises(type(error)):
        patiently(work, "t", uri, sleep=lambda _: pytest.fail("it waits"))
    assert work.calls == 1


@pytest.mark.parametrize(
    ("name", "needs"), [("delta:/t", "deltalake"), ("iceberg:c.n.t", "pyiceberg"), ("lance:/t", "lance")]
)
def test_a_package_that_is_missing_is_named(name: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_storage, "find_spec", lambda _: None)
    told = rf"{name}: needs {needs}, which is not installed: pip install 'vqa-ray\["
    with pytest.raises(RequestError, match=f"--to {told}"):
        parse_target(name)
    table = parse_table(name)
    assert table is not None
    with pytest.raises(RequestError, match=told):
        table_files(table)
    assert parse_target("parquet:/t").kind == "parquet"
