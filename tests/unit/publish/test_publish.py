"""Rows of a run in a table: once, whole, in place of those of earlier states, whatever keeps the table."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from pyiceberg.utils.config import Config

from tests.helpers.s3 import s3_bucket
from tests.helpers.tables import KINDS, catalogue_settings, finished_run, read_table, target_in
from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.jobs import publish
from vqa_ray.jobs.spec.tools import PublishSpec
from vqa_ray.publish import publication
from vqa_ray.publish.publication import Publication
from vqa_ray.storage.atomic import open_atomic
from vqa_ray.storage.filesystem import exists, read_bytes

EACH = pytest.mark.parametrize("kind", KINDS)
MERGING = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "parquet"])


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in catalogue_settings(tmp_path).items():
        monkeypatch.setenv(name, value)
    # pyiceberg reads the variables when it is imported.
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())


def answers(*texts: str, first: int = 0) -> list[dict[str, Any]]:
    scored = [{"answer": "yes", "score": 0.5}]
    return [
        {"row_id": first + number, "answer": text, "answer_score": 0.5, "answers": scored}
        for number, text in enumerate(texts)
    ]


def published(run: str, kind: str, directory: Path, mode: str = "merge", by: Sequence[str] = ()) -> dict[int, str]:
    """The answers of the table by row id, none twice."""
    publish.run(PublishSpec(run=run, to=target_in(kind, directory), mode=mode, by=list(by)))
    return told(kind, directory)


def told(kind: str, directory: Path) -> dict[int, str]:
    rows = read_table(kind, directory)
    assert len({row["row_id"] for row in rows}) == len(rows)
    return {row["row_id"]: row["answer"] for row in rows}


@EACH
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_twice_is_once(tmp_path: Path, kind: str, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    run = finished_run(tmp_path / "run", answers("a", "b", "c"))
    for _ in range(2):
        assert published(run, kind, tmp_path, mode) == {0: "a", 1: "b", 2: "c"}
    row = read_table(kind, tmp_path)[0]
    assert row["run_id"] == "run-1"
    assert row["status"] == "ok"
    assert row["answers"] == [{"answer": "yes", "score": 0.5}]


@EACH
def test_a_later_state_takes_the_place_of_the_earlier(tmp_path: Path, kind: str) -> None:
    run = finished_run(tmp_path / "run", answers("a", "b", "c"))
    published(run, kind, tmp_path)
    shutil.rmtree(run)
    gone = {**answers("x", first=9)[0], "status": schema.STATUS_GONE}
    run = finished_run(tmp_path / "run", [*answers("A", "b"), *answers("d", first=5), gone], state=2)
    assert published(run, kind, tmp_path) == {0: "A", 1: "b", 5: "d"}
    assert published(run, kind, tmp_path) == {0: "A", 1: "b", 5: "d"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "parquet"])
def test_a_later_state_is_not_added_to_the_earlier(tmp_path: Path, kind: str) -> None:
    published(finished_run(tmp_path / "run", answers("a")), kind, tmp_path, "append")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RequestError, match="--mode merge replaces them"):
        published(finished_run(tmp_path / "run", answers("A"), state=2), kind, tmp_path, "append")
    assert told(kind, tmp_path) == {0: "a"}


@EACH
@pytest.mark.parametrize("batches", [0, 2])
def test_what_was_cut_off_leaves_nothing_and_is_repeated(
    tmp_path: Path, kind: str, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while rows are written: readers see the state before, and the same command brings the one after."""
    monkeypatch.setattr(publication, "_ROWS", 1)
    published(finished_run(tmp_path / "one", answers("a", "b", "c")), kind, tmp_path)
    shutil.rmtree(tmp_path / "one")
    run = finished_run(tmp_path / "one", answers("A", "B", "C", "D"), state=2)
    whole = Publication._row_batch
    read: list[int] = []

    def cut_off(self: Publication, batch: pa.RecordBatch, form: pa.Schema) -> pa.RecordBatch:
        if "answer" in form.names:
            read.append(batch.num_rows)
        if len(read) > batches:
            raise OSError("cut off")
        return whole(self, batch, form)

    with monkeypatch.context() as patched:
        patched.setattr(Publication, "_row_batch", cut_off)
        with pytest.raises(RequestError, match=r"cut off|cannot be read"):
            published(run, kind, tmp_path)
    assert told(kind, tmp_path) == {0: "a", 1: "b", 2: "c"}
    assert published(run, kind, tmp_path) == {0: "A", 1: "B", 2: "C", 3: "D"}


@pytest.mark.parametrize("size_bytes", [10, 12 * 2**20])
def test_a_file_in_a_store_is_whole_or_not_there(size_bytes: int) -> None:
    with s3_bucket(f"cut-off-{size_bytes}") as bucket:

        def write(uri: str, *, fails: bool) -> None:
            with open_atomic(uri) as sink:
                sink.write(b"x" * size_bytes)
                if fails:
                    raise OSError("cut off")

        with pytest.raises(OSError, match="cut off"):
            write(f"{bucket}/a/b.parquet", fails=True)
        gc.collect()
        assert not exists(f"{bucket}/a/b.parquet")
        write(f"{bucket}/a/b.parquet", fails=False)
        assert len(read_bytes(f"{bucket}/a/b.parquet")) == size_bytes


@MERGING
def test_rows_of_other_runs_are_replaced_by_key_and_kept_otherwise(tmp_path: Path, kind: str) -> None:
    published(finished_run(tmp_path / "one", answers("a", "b", "c")), kind, tmp_path)
    other = finished_run(tmp_path / "other", answers("B", "C", "D", first=1), run_id="run-2")
    assert published(other, kind, tmp_path) == {0: "a", 1: "B", 2: "C", 3: "D"}


@EACH
def test_new_columns_are_added_and_null_for_rows_from_before(tmp_path: Path, kind: str) -> None:
    published(finished_run(tmp_path / "one", answers("a")), kind, tmp_path)
    wider = schema.ANSWER.append(pa.field("colour", pa.string()))
    rows = [{**row, "colour": "red"} for row in answers("b", first=1)]
    published(finished_run(tmp_path / "two", rows, run_id="run-2", form=wider), kind, tmp_path)
    assert {row["row_id"]: row["colour"] for row in read_table(kind, tmp_path)} == {0: None, 1: "red"}
    # A run without the column still fits.
    published(finished_run(tmp_path / "three", answers("c", first=2), run_id="run-3"), kind, tmp_path)
    assert {row["row_id"]: row["colour"] for row in read_table(kind, tmp_path)} == {0: None, 1: "red", 2: None}


@EACH
def test_a_type_that_has_moved_is_refused_with_both(tmp_path: Path, kind: str) -> None:
    for number, kind_of_size in enumerate((pa.string(), pa.int64())):
        form = schema.ANSWER.append(pa.field("size", kind_of_size))
        run = finished_run(tmp_path / str(number), answers("a", first=number), run_id=f"run-{number}", form=form)
        if number == 0:
            published(run, kind, tmp_path)
            continue
        with pytest.raises(RequestError, match="column size has moved: string in the table, int64 in the run"):
            published(run, kind, tmp_path)
    assert told(kind, tmp_path) == {0: "a"}


@EACH
def test_types_that_some_formats_lack(tmp_path: Path, kind: str) -> None:
    form = schema.ANSWER
    for name, kind_of_column in (
        ("tiny", pa.uint8()),
        ("half", pa.float16()),
        ("word", pa.dictionary(pa.int32(), pa.string())),
        ("large", pa.large_string()),
        ("nothing", pa.null()),
    ):
        form = form.append(pa.field(name, kind_of_column))
    row = {**answers("a")[0], "tiny": 200, "half": 0.5, "word": "w", "large": "l", "nothing": None}
    published(finished_run(tmp_path / "run", [row], form=form), kind, tmp_path)
    (there,) = read_table(kind, tmp_path)
    assert {name: there[name] for name in ("tiny", "half", "word", "large", "nothing")} == {
        "tiny": 200,
        "half": 0.5,
        "word": "w",
        "large": "l",
        "nothing": None,
    }


def test_a_number_that_no_format_holds_is_no_damage(tmp_path: Path) -> None:
    form = schema.ANSWER.append(pa.field("huge", pa.uint64()))
    run = finished_run(tmp_path / "run", [{**answers("a")[0], "huge": 2**63}], form=form)
    with pytest.raises(RequestError, match=r"run: column huge: Integer value 9223372036854775808 not in range"):
        published(run, "parquet", tmp_path)
    assert not list((tmp_path / "parquet").glob("*"))


def test_rows_of_one_key_are_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", [*answers("a"), *answers("b")])
    with pytest.raises(RequestError, match=r"1 rows .* have the key of another row; name other columns with --by"):
        published(run, "delta", tmp_path)
    publish.run(PublishSpec(run=run, to=target_in("delta", tmp_path), mode="append"))
    assert len(read_table("delta", tmp_path)) == 2


def test_files_of_other_runs_are_not_rewritten(tmp_path: Path) -> None:
    published(finished_run(tmp_path / "one", answers("a")), "parquet", tmp_path)
    with pytest.raises(RequestError, match=r"1 rows have the key of a row of .* in run-1\.parquet"):
        published(finished_run(tmp_path / "two", answers("A"), run_id="run-2"), "parquet", tmp_path)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("table", r"--to table: expected iceberg:CATALOG.NAMESPACE.TABLE, delta:URI"),
        ("s3://bucket/table", "expected iceberg:"),
        ("delta:", "names no table"),
        ("iceberg:tags", "expected iceberg:CATALOG.NAMESPACE.TABLE"),
        ("iceberg:shop.photos.tags.", "expected iceberg:CATALOG.NAMESPACE.TABLE"),
        ("iceberg:nosuch.photos.tags", "PYICEBERG_CATALOG__NOSUCH__URI"),
    ],
)
def test_targets_that_are_none(tmp_path: Path, to: str, expected: str) -> None:
    run = finished_run(tmp_path / "run", answers("a"))
    with pytest.raises(RequestError, match=expected):
        publish.run(PublishSpec(run=run, to=to))


@pytest.mark.parametrize("kind", ["delta", "lance"])
def test_a_table_is_not_made_among_other_files(tmp_path: Path, kind: str) -> None:
    run = finished_run(tmp_path / "run", answers("a"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").touch()
    with pytest.raises(RequestError, match=rf"taken: is no {kind.capitalize()} table and holds .*example thesis\.txt"):
        publish.run(PublishSpec(run=run, to=f"{kind}:{tmp_path}/taken"))
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("kind", "left"), [("delta", "part-00001-a.parquet"), ("lance", "data/0.lance")])
def test_what_a_kill_left_before_the_first_commit_is_no_hindrance(tmp_path: Path, kind: str, left: str) -> None:
    run = finished_run(tmp_path / "run", answers("a"))
    (tmp_path / kind / left).parent.mkdir(parents=True)
    (tmp_path / kind / left).touch()
    assert published(run, kind, tmp_path) == {0: "a"}


def test_runs_that_are_none(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", answers("a"))
    for by, expected in (("colour", "no column"), ("answers", "lists or structures"), ("image_id", "null in 1 row")):
        with pytest.raises(RequestError, match=expected):
            published(run, "delta", tmp_path, by=[by])
    with pytest.raises(RequestError, match="leave one of the two out"):
        published(run, "delta", tmp_path, "append", ["row_id"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no finished run"):
        published(str(tmp_path / "empty"), "delta", tmp_path)
    with pytest.raises(RequestError, match="holds a run or an index"):
        publish.run(PublishSpec(run=run, to=f"delta:{run}/table"))


@pytest.mark.parametrize("kind", ["delta", "lance", "parquet"])
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_run_is_no_table(tmp_path: Path, kind: str, mode: str) -> None:
    """Its readers would take the table's files for rows of the run."""
    run, other = (finished_run(tmp_path / name, answers("a"), run_id=name) for name in ("run", "other"))
    before = sorted(tmp_path.rglob("*"))
    for directory in (run, f"{run}/", other):
        with pytest.raises(RequestError, match=rf"--to {directory}: lies in .*, which holds a run or an index"):
            publish.run(PublishSpec(run=run, to=f"{kind}:{directory}", mode=mode))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_update_between_the_check_and_the_lock_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path / "run", answers("a", "b"), run_id="run-1")
    locked = publish.output_lock

    def updated_first(*arguments: Any, **options: Any) -> Any:
        finished_run(tmp_path / "run", answers("c"), run_id="run-1", state=2)
        return locked(*arguments, **options)

    monkeypatch.setattr(publish, "output_lock", updated_first)
    assert published(run, "parquet", tmp_path) == {0: "c"}
    metadata = pq.read_schema(tmp_path / "parquet" / "run-1.parquet").metadata
    assert metadata[publication.KEY.encode()] == b"run-1/2"


def test_a_log_that_delta_does_not_see_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path / "run", answers("a"))
    published(run, "delta", tmp_path)
    monkeypatch.setattr("deltalake.DeltaTable.is_deltatable", lambda *_: False)
    log = "_delta_log/00000000000000000000.json"
    with pytest.raises(RequestError, match=f"although {log} is there: another process may be making it; repeat the"):
        published(run, "delta", tmp_path)
    (tmp_path / "delta" / log).rename(tmp_path / "delta" / "_delta_log" / "_commit_1.json.tmp")
    assert published(run, "delta", tmp_path) == {0: "a"}, "a writer that was killed before its first commit left it"


def test_columns_that_differ_in_case_alone_are_refused_by_delta(tmp_path: Path) -> None:
    def kept(name: str, *columns: str) -> str:
        form = pa.schema([*schema.ANSWER, *(pa.field(column, pa.string()) for column in columns)])
        rows = [{**answers("a")[0], **dict.fromkeys(columns, "x")}]
        return finished_run(tmp_path / name, rows, run_id=name, form=form)

    expected = "columns (sku and SKU|SKU and sku) differ in case alone"
    with pytest.raises(RequestError, match=expected):
        published(kept("both", "SKU", "sku"), "delta", tmp_path)
    published(kept("first", "sku"), "delta", tmp_path)
    with pytest.raises(RequestError, match=expected):
        published(kept("second", "SKU"), "delta", tmp_path)
