"""A store that fails: what passes is waited for, what does not ends the run in one line, and no row pays for either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.coloured import NAMES, jsonl_input, parquet_input, picture, webdataset_input
from tests.helpers.faulty_store import PASSING, Fault, FaultyStore
from tests.jobs.commands import arguments, finish, run_here
from tests.jobs.finetune import test_command as finetune
from tests.jobs.test_s3 import manifest, rows, upload
from vqa_ray.index.reader import open_index
from vqa_ray.jobs.cli import main
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(600)]

ROWS = 48
SMALL = ("--rows-per-file", "8", "--batch-size", "8")
COLOURS = [NAMES[number % len(NAMES)] for number in range(ROWS)]
QUESTION = ("--question", "what colour is it?")


def place_of(kind: str, tmp_path: Path, uri: str) -> str:
    """Upload ROWS rows of a kind of input."""
    if kind == "parquet":
        return upload(parquet_input(tmp_path / "in", ROWS), f"{uri}/in")
    if kind == "jsonl":
        return f"{upload(jsonl_input(tmp_path / 'in', ROWS).parent, f'{uri}/in')}/rows.jsonl"
    webdataset_input(tmp_path / "a.tar", ROWS)
    write_bytes_atomic(f"{uri}/in/a.tar", (tmp_path / "a.tar").read_bytes())
    return f"{uri}/in"


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "webdataset"])
def test_a_fifth_of_all_requests_fails_and_no_row_does(
    kind: str, tmp_path: Path, s3_session: str, s3_faults: FaultyStore
) -> None:
    place = f"{s3_session}/fifth-{kind}"
    source, output = place_of(kind, tmp_path, place), f"{place}/out"
    before = s3_faults.injected.total()
    s3_faults.inject(*PASSING, share=0.2)
    assert run_here("answer", source, output, *SMALL) == 0
    s3_faults.heal()
    assert s3_faults.injected.total() - before >= 10
    assert rows(output)["answer"].to_pylist() == COLOURS
    assert (manifest(output)["errors"], manifest(output)["findings"]) == ({}, [])


def test_an_update_an_index_and_a_table_through_failing_requests(
    tmp_path: Path, s3_session: str, s3_faults: FaultyStore
) -> None:
    place = f"{s3_session}/chain"
    source, output = f"{place}/photos", f"{place}/out"
    for number in range(ROWS):
        write_bytes_atomic(f"{source}/{number:03}.jpg", picture(number))
    s3_faults.inject(*PASSING, share=0.1)
    assert run_here("answer", source, output, *SMALL, *QUESTION) == 0
    assert run_here("index", source, f"{place}/index", *SMALL) == 0
    write_bytes_atomic(f"{source}/000.jpg", picture(1))
    write_bytes_atomic(f"{source}/new.jpg", picture(2))
    assert run_here("answer", source, output, *SMALL, *QUESTION, "--update") == 0
    assert run_here("index", source, f"{place}/index", *SMALL) == 0
    for kind in ("parquet", "delta", "lance"):
        # In a process of its own: delta-rs waits for the store with the interpreter locked, which serves it here.
        code, told = finish(["publish", output, "--to", f"{kind}:{place}/{kind}"])
        assert code == 0, told
    s3_faults.heal()
    answered = {row["image_id"]: row["answer"] for row in rows(output).to_pylist()}
    assert answered == {f"{number:03}.jpg": COLOURS[number] for number in range(1, ROWS)} | {
        "000.jpg": NAMES[1],
        "new.jpg": NAMES[2],
    }
    assert len(open_index(f"{place}/index")) == ROWS + 1


def test_a_training_through_failing_requests(tmp_path: Path, s3_session: str, s3_faults: FaultyStore) -> None:
    place = f"{s3_session}/training"
    argv = finetune.arguments(Path("in"), f"{place}/out", "--epochs", "1", "--checkpoint-every", "10")
    argv[argv.index("in")] = upload(finetune.training_input(tmp_path / "in"), f"{place}/in")
    s3_faults.inject(*PASSING, share=0.1)
    assert main(argv) == 0
    s3_faults.heal()
    assert json.loads(read_bytes(f"{place}/out/_vqa_ray/manifest.json"))["status"] == "finished"


@pytest.mark.soak
@pytest.mark.parametrize(
    "away",
    [
        # The footers of the shards are read when the input is opened.
        (Fault.EXPIRED, "GET {}/in", 4, "renew the credentials"),
        (Fault.BUSY, "PUT {}/out/part", 1, ""),
        (Fault.NO_BUCKET, "/flow", 30, "bucket"),
    ],
    ids=str,
)
def test_a_store_that_stays_away_ends_the_run_and_the_same_command_goes_on(
    away: tuple[Fault, str, int, str], tmp_path: Path, s3_session: str, s3_faults: FaultyStore, capsys
) -> None:
    fault, matching, after, told = away
    place = f"{s3_session}/away-{fault.name}"
    argv = arguments("answer", place_of("parquet", tmp_path, place), f"{place}/out", *SMALL)
    s3_faults.inject(fault, matching=matching.format(place.removeprefix("s3:/")), after=after)
    # A request is refused (2) where the store goes before the work begins.
    assert main(argv) in (1, 2)
    s3_faults.heal()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("vqa-ray answer: ")
    assert told in last
    # A process of its own: where Ray cancels a task, the next one of that worker may find half of an import. The first
    # could not say that it is done where its bucket was gone.
    code, said = finish(argv)
    assert code == 0, said
    assert said == "" or (fault is Fault.NO_BUCKET and said.endswith("is dead; taking over\n"))
    assert rows(f"{place}/out")["answer"].to_pylist() == COLOURS
    assert (manifest(f"{place}/out")["errors"], manifest(f"{place}/out")["findings"]) == ({}, [])
