"""`--input lance:URI`: runs and updates over the versions of a dataset; killed anywhere, nothing is lost."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from tests.helpers import updates
from tests.helpers.coloured import picture
from tests.helpers.faulty_store import PASSING, Fault, FaultyStore
from tests.helpers.updates import KilledError, seen_by_us, tag_here
from tests.jobs.commands import arguments, manifest, rows
from vqa_ray.errors import RequestError
from vqa_ray.jobs.cli import main
from vqa_ray.readers.changes.snapshot import read_snapshot
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.lake_storage import storage_options

_PER_FRAGMENT = 8


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows that each pipeline reads; they run in this process."""
    return updates.install(monkeypatch)


def photos(*numbers: int, shade: int = 0) -> pa.Table:
    """Rows that their images tell apart."""
    return pa.table({"sku": numbers, "image": [b"%d in %d" % (number, shade) for number in numbers]})


def written(where: Path, rows: pa.Table, mode: str = "create") -> None:
    lance.write_dataset(rows, str(where), mode=mode, max_rows_per_file=_PER_FRAGMENT)


def without(where: Path, condition: str) -> None:
    lance.dataset(str(where)).delete(condition)


def merged(where: Path, rows: pa.Table) -> None:
    lance.dataset(str(where)).merge_insert("sku").when_matched_update_all().execute(rows)


def cleaned(where: Path) -> None:
    """Leave the latest version alone."""
    lance.dataset(str(where)).cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)


def seen(output: Path) -> dict[str | None, str]:
    """What each row says of its image → its status."""
    rows = seen_by_us(output).values()
    assert len({what for _, what in rows}) == len(rows)
    return {what: status for status, what in rows}


def truth(where: Path, *gone: bytes) -> dict[str | None, str]:
    """What a run must say of the latest version, and of the images of rows that are gone."""
    here = lance.dataset(str(where)).to_table()["image"].to_pylist()
    return dict.fromkeys(map(said, here), "ok") | dict.fromkeys(map(said, gone), "gone")


def said(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()[:12]


def last_update(output: Path) -> dict[str, int]:
    entry = manifest(output)["updates"][-1]
    return {name: entry[name] for name in ("new", "changed", "gone", "kept", "asked")}


def test_rows_that_were_added_changed_and_deleted(tmp_path: Path, asked: list[int]) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    written(where, photos(*range(20)))
    tag_here(f"lance:{where}", output)
    assert seen(output) == truth(where)
    tag_here(f"lance:{where}", output, update=True)
    assert asked == [20], "nothing has changed"
    written(where, photos(20, 21), "append")
    tag_here(f"lance:{where}", output, update=True)
    assert asked == [20, 2]
    assert last_update(output) == {"new": 2, "changed": 0, "gone": 0, "kept": 20, "asked": 2}
    without(where, "sku = 3")
    merged(where, photos(11, shade=1))
    tag_here(f"lance:{where}", output, update=True)
    assert seen(output) == truth(where, b"3 in 0", b"11 in 0")
    assert last_update(output) == {"new": 1, "changed": 0, "gone": 2, "kept": 20, "asked": 1}
    assert asked == [20, 2, 1]


def test_a_compacted_dataset_is_asked_nothing(tmp_path: Path, asked: list[int]) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    written(where, photos(*range(20)))
    without(where, "sku = 5")
    tag_here(f"lance:{where}", output)
    lance.dataset(str(where)).optimize.compact_files(target_rows_per_fragment=100)
    assert len(lance.dataset(str(where)).get_fragments()) == 1
    tag_here(f"lance:{where}", output, update=True)
    assert asked == [19]
    assert seen(output) == truth(where)
    assert last_update(output) == {"new": 0, "changed": 0, "gone": 0, "kept": 19, "asked": 0}


def test_a_missing_part_stops_the_night(tmp_path: Path, asked: list[int]) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    written(where, photos(*range(20)))
    tag_here(f"lance:{where}", output)
    without(where, "sku < 8")
    with pytest.raises(RequestError, match=r"8 of 20 rows \(40\.0%\) are gone \(fragment-000000-"):
        tag_here(f"lance:{where}", output, update=True)
    tag_here(f"lance:{where}", output, update=True, max_gone=0.4, forget=True)
    assert seen(output) == truth(where)


@pytest.mark.parametrize("moment", range(1, 16))
def test_killed_anywhere_no_row_is_lost_doubled_or_stale(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    written(where, photos(*range(20)))
    tag_here(f"lance:{where}", output)
    without(where, "sku = 3")
    merged(where, photos(11, shade=1))
    written(where, photos(20, 21), "append")
    with updates.killed_at(moment, monkeypatch), suppress(KilledError):
        tag_here(f"lance:{where}", output, update=True)
    # It moves on before the update goes on.
    without(where, "sku = 20")
    tag_here(f"lance:{where}", output, update=True)
    gone = [b"3 in 0", b"11 in 0"] + [b"20 in 0"] * (said(b"20 in 0") in seen(output))
    assert seen(output) == truth(where, *gone)


def test_a_run_goes_on_with_its_version(tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    written(where, photos(*range(20)))
    before = truth(where)
    with updates.killed_at(3, monkeypatch), pytest.raises(KilledError):
        tag_here(f"lance:{where}", output)
    snapshot = read_snapshot(RunDirectory(str(output)).listing())
    assert snapshot is not None
    names = [file.name.rpartition("-")[0] for file in snapshot.files]
    assert names == ["fragment-000000", "fragment-000001", "fragment-000002"]
    written(where, photos(20, 21), "append")
    # An old version that was cleaned up is of no importance where its fragments are as they were.
    cleaned(where)
    with pytest.raises(ValueError, match="not found"):
        lance.dataset(str(where), version=1)
    tag_here(f"lance:{where}", output)
    assert seen(output) == before


def test_a_version_that_is_gone_is_told(tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    written(where, photos(*range(20)))
    with updates.killed_at(3, monkeypatch), pytest.raises(KilledError):
        tag_here(f"lance:{where}", output)
    without(where, "sku = 3")
    cleaned(where)
    told = r"version 1, which the run began with, was cleaned up, and 1 of its fragments have changed since \(for ex"
    with pytest.raises(RequestError, match=told):
        tag_here(f"lance:{where}", output)
    with pytest.raises(RequestError, match=r"shop\.lance@1: cannot be opened: .*not found"):
        tag_here(f"lance:{where}@1", tmp_path / "other")


@pytest.mark.usefixtures("local_ray")
def test_through_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where, output = tmp_path / "shop.lance", tmp_path / "out"
    table = pa.table({"sku": range(22), "image": [picture(number) for number in range(22)]})
    written(where, table[:20])
    command = arguments("tag", f"lance:{where}", output, "--keep", "sku")
    assert main(command) == 0
    without(where, "sku = 3")
    written(where, table[20:], "append")
    assert main([*command, "--update"]) == 0, capsys.readouterr().err
    assert last_update(output) == {"new": 2, "changed": 0, "gone": 1, "kept": 19, "asked": 2}
    found = {row["sku"]: row["status"] for row in rows(output).to_pylist()}
    assert found == {number: "gone" if number == 3 else "ok" for number in range(22)}


@pytest.mark.parametrize("faults", [PASSING, (Fault.SHORT, Fault.EMPTY)])
@pytest.mark.usefixtures("asked")
def test_from_a_bucket_that_fails(
    tmp_path: Path, s3_session: str, s3_faults: FaultyStore, monkeypatch: pytest.MonkeyPatch, faults: tuple[Fault, ...]
) -> None:
    """Answers that come short look like damage, and are none."""
    monkeypatch.setattr("vqa_ray.storage.lake_storage._PAUSES_S", (0.01,) * 8)
    where, output = f"{s3_session}/fails-{len(faults)}/shop.lance", tmp_path / "out"
    share = 0.2 if faults is PASSING else 0.4
    rows, options = photos(*range(40)), storage_options(where)
    lance.write_dataset(rows, where, max_rows_per_file=_PER_FRAGMENT, storage_options=options)
    lance.dataset(where, storage_options=options).delete("sku % 8 = 5")
    s3_faults.inject(*faults, share=share)
    assert tag_here(f"lance:{where}", output).rows == 35
    s3_faults.heal()
    lance.dataset(where, storage_options=options).delete("sku = 3")
    s3_faults.inject(*faults, share=share)
    tag_here(f"lance:{where}", output, update=True)
    s3_faults.heal()
    kept = [image for sku, image in enumerate(rows["image"].to_pylist()) if sku % 8 != 5]
    assert seen(output) == dict.fromkeys(map(said, kept), "ok") | {said(b"3 in 0"): "gone"}
