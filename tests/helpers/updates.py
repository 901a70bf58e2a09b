"""Runs and updates in this process, without Ray: each row tells the bytes of its file; any write may be the last."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.images.page_refs import document_of
from vqa_ray.jobs import tag
from vqa_ray.jobs.runtime.execute import Execution
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.spec.images import TagSpec
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.schema import STATUS_ERROR, STATUS_OK
from vqa_ray.stages.size_report import ImageSizes
from vqa_ray.storage import atomic
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.delete import delete

_ROWS_PER_FILE = 7


class KilledError(BaseException):
    """The process dies here."""


def digest(path: Path) -> str:
    """What a row says of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def install(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run pipelines here; gives the numbers of rows that each read."""
    asked: list[int] = []

    def execute(job: Job, work: Attempt, invocation: str) -> Execution:
        rows = [row for task in work.tasks for table in task() for row in table.to_pylist()]
        asked.append(len(rows))
        suffix = "pq" if work.directory.has_private_parts else "parquet"
        for number, start in enumerate(range(0, len(rows), _ROWS_PER_FILE)):
            name = f"{invocation}_{number:06}"
            written = [_answered(row, job.schema, work) for row in rows[start : start + _ROWS_PER_FILE]]
            table = pa.Table.from_pylist(written, job.file_schema(work.record))
            commit = f"{work.directory.checkpoint}/{invocation}/{name}"
            keys = table.select(["source_key"])
            write_table_atomic(f"{commit}.pending.pq", keys)
            write_table_atomic(f"{work.directory.parts}/{name}-0.{suffix}", table)
            write_table_atomic(f"{commit}.pq", keys)
            delete(f"{commit}.pending.pq")
        return Execution({}, 0, None, ImageSizes(), ImageSizes())

    monkeypatch.setattr("vqa_ray.jobs.runtime.commit.execute", execute)
    return asked


def _answered(row: dict[str, Any], form: pa.Schema, work: Attempt) -> dict[str, Any]:
    cells = {name: row.get(name) for name in form.names}
    cells |= {"attempt": work.directory.attempt, "warning": None}
    path = Path(document_of(row["image_uri"])) if row["image_uri"] else None
    if row["status"] == STATUS_OK and path is not None and not path.exists():
        error = {"status": STATUS_ERROR, "error_code": "image_missing", "error_message": "no such file"}
        return cells | error
    seen = digest(path) if path is not None else hashlib.sha256(row["image"]).hexdigest()[:12]
    return cells | {"tags": [seen], "tag_scores": []}


def tag_here(source: Path | str, output: Path | str, **options: Any) -> RunResult:
    """Run `tag` on the fake model, in this process."""
    return tag.run(TagSpec(input=str(source), output=str(output), model="fake:", quiet=True, **options))


@contextmanager
def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Die at the Nth write or deletion: in the middle of it, so that it has happened or not, by its number."""
    left = [moment]

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] > 0:
                return function(*arguments)
            if left[0] == 0 and moment % 2:
                function(*arguments)
            raise KilledError

        return call

    with monkeypatch.context() as patched:
        real = atomic.write_bytes_atomic
        for module in ("runs.publication", "runs.record", "runs.manifest", "jobs.runtime.delta_publication"):
            patched.setattr(f"vqa_ray.{module}.write_bytes_atomic", dying(real))
        for module in ("storage.atomic", "readers.changes.snapshot", "jobs.runtime.commit"):
            patched.setattr(f"vqa_ray.{module}.write_bytes_atomic", dying(real))
        for name in ("runs.publication", "jobs.runtime.delta", "jobs.runtime.delta_publication"):
            module = __import__(f"vqa_ray.{name}", fromlist=["x"])
            patched.setattr(module, "delete_directory", dying(module.delete_directory))
        module = __import__("vqa_ray.runs.publication", fromlist=["x"])
        patched.setattr(module, "delete", dying(module.delete))
        yield


def seen_by_globs(output: Path) -> dict[str, tuple[str, str | None]]:
    """Every row that `*.parquet` finds: image_id → (status, what it says); each id once."""
    rows: list[dict[str, Any]] = []
    for path in sorted(output.glob("**/*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return _by_id(rows)


def seen_by_us(output: Path) -> dict[str, tuple[str, str | None]]:
    """Every row that our readers find."""
    rows: list[dict[str, Any]] = []
    for entry in RunDirectory(str(output)).part_files():
        rows += pq.read_table(entry.uri).to_pylist()
    return _by_id(rows)


def _by_id(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str | None]]:
    found = {row["image_id"]: (row["status"], (row["tags"] or [None])[0]) for row in rows}
    assert len(found) == len(rows), "a row stands twice"
    return found


def change(folder: Path, chance: random.Random, counter: list[int]) -> None:
    """One day in a directory of photos: some come, some change, some go, some come back."""
    names = sorted(path.name for path in folder.iterdir())
    for _ in range(chance.randint(1, 3)):
        counter[0] += 1
        (folder / f"n{counter[0]:04}.jpg").write_bytes(b"new %d" % counter[0])
    for name in chance.sample(names, min(len(names), 2)):
        counter[0] += 1
        (folder / name).write_bytes(b"changed %d" % counter[0])
    if len(names) > 8:
        (folder / chance.choice(names)).unlink()
    back = folder / f"n{chance.randint(1, counter[0]):04}.jpg"
    if not back.exists():
        back.write_bytes(b"back %d" % counter[0])
