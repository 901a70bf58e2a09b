"""Any process of a command dies, again and again: at the end each row is there once, as if nothing had happened.

`make soak` runs this; VQA_RAY_SOAK_KILLS is the number of kills of each test here.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import GcsClient

from tests.helpers.coloured import NAMES, images_input, jsonl_input, parquet_input
from tests.helpers.documents import ENCRYPTION, LETTER, coloured, pdf
from tests.jobs.commands import arguments, finish, manifest, rows, run_here, started
from tests.jobs.finetune import test_command as finetune
from tests.jobs.kills import NODE, disturbed, kill_node, killing_workers, processes_below, three_nodes
from tests.jobs.test_retrieve import RED
from tests.jobs.test_tag import taxonomy
from vqa_ray.index.reader import open_index
from vqa_ray.keys import size
from vqa_ray.runs.commits import committed_keys, committed_tasks
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.stages.row_report import ReturnedRows

KILLS = int(os.environ.get("VQA_RAY_SOAK_KILLS", "60"))
ROWS = 600
DOCUMENT_PAGES = 70
SMALL = ("--rows-per-file", "24", "--batch-size", "8")
WORKERS = ("actor", "decoder", "reader", "writer")
PARTS = (*WORKERS, "driver", "sigterm", "raylet", "head")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]


class Command(NamedTuple):
    """A command that is killed.

    Attributes:
        argv: (directory of the input, output) → the command.
        result: output → all that it wrote, in an order of its own.
        told: pattern of what it says at its end.
    """

    argv: Callable[[Path, Path], list[str]]
    result: Callable[[Path], pa.Table]
    told: str = ""

    def finish(self, argv: list[str]) -> None:
        """Run it to a good end."""
        code, told = finish(argv)
        assert code == 0, told
        assert re.fullmatch(self.told, told), told


def indexed(output: Path) -> pa.Table:
    index = open_index(str(output))
    columns = index.rows(["image_id", "sha256", "status"])
    vectors, positions = index.vectors()
    return columns.take(pa.array(positions)).append_column("vector", pa.array(list(vectors))).sort_by("image_id")


COMMANDS = {
    "answer": Command(lambda place, out: arguments("answer", parquet_once(place), out, *SMALL), rows),
    "tag": Command(
        lambda place, out: arguments("tag", jsonl_once(place), out, "--tags", taxonomy(place), *SMALL),
        rows,
    ),
    # Without --ask-all, the first images of each actor are asked more than the others.
    "retrieve": Command(
        lambda place, out: arguments(
            "retrieve", parquet_once(place), out, "--where", f"{RED} and 'is it a dog?'", "--ask-all", *SMALL
        ),
        rows,
    ),
    "pages": Command(
        lambda place, out: arguments("answer", documents_once(place), out, "--question", "what colour is it?", *SMALL),
        rows,
        r"first error: image_un\w+: .+\n",
    ),
    "index": Command(lambda place, out: arguments("index", images_once(place), out, *SMALL), indexed),
}


def parquet_once(place: Path) -> Path:
    return place / "p" if (place / "p").exists() else parquet_input(place / "p", ROWS, shards=6)


def jsonl_once(place: Path) -> Path:
    return place / "j" / "rows.jsonl" if (place / "j").exists() else jsonl_input(place / "j", ROWS)


def images_once(place: Path) -> Path:
    return place / "i" if (place / "i").exists() else images_input(place / "i", ROWS)


def documents_once(place: Path) -> Path:
    """PDF files of `ROWS` rows: pages, a document that is locked and one that is damaged."""
    directory = place / "d"
    if not directory.exists():
        directory.mkdir()
        whole, rest = divmod(ROWS - 2, DOCUMENT_PAGES)
        for number, pages in enumerate([DOCUMENT_PAGES] * whole + [rest]):
            (directory / f"{number}.pdf").write_bytes(coloured(pages))
        (directory / "locked.pdf").write_bytes(pdf([(*LETTER, (0, 0, 0))], trailer=ENCRYPTION))
        (directory / "damaged.pdf").write_bytes(b"%PDF-1.4\n" + bytes(100))
    return directory


@pytest.mark.parametrize("name", list(COMMANDS))
def test_killed_at_random_it_gives_what_an_undisturbed_run_gives(name: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("VQA_RAY_SOAK_SEED", "0"))
    command, chance = COMMANDS[name], random.Random(f"{name}{seed}")
    undisturbed = tmp_path / "undisturbed"
    argv = command.argv(tmp_path, undisturbed)
    command.finish(argv)
    truth = command.result(undisturbed)
    assert truth.num_rows == ROWS
    killed: Counter[str] = Counter()
    trial = runs = 0
    while killed.total() < KILLS:
        output, trial = tmp_path / f"out-{trial}", trial + 1
        argv = command.argv(tmp_path, output)
        code, present = -1, set[str]()
        while code != 0:
            code, these = disturbed(argv, PARTS, chance, KILLS - killed.total(), (1.0, 20.0))
            killed, runs = killed + these, runs + 1
            if name != "index":
                now = set(committed_tasks(RunDirectory(str(output))))
                assert present <= now, "what was committed is gone"
                present = now
            print(f"{name} trial {trial}: {dict(these)} → {code}, {killed.total()} kills in {runs} runs", flush=True)  # noqa: T201
            if killed.total() >= KILLS and code != 0:
                command.finish(argv)
                break
        assert command.result(output).equals(truth)
        if name != "index":
            assert manifest(output)["findings"] == []
    print(f"{name}: {killed.total()} kills in {trial} outputs: {dict(killed)}", flush=True)  # noqa: T201


@pytest.mark.usefixtures("local_ray")
def test_workers_that_die_all_the_time(tmp_path: Path) -> None:
    """Every few seconds, an actor, a decoder, a reader or a writer: no run needs a second one."""
    chance, killed, trial = random.Random(5), Counter[str](), 0
    source, wanted = parquet_input(tmp_path / "in", 2 * ROWS, shards=6), 3 * KILLS
    endless = iter(lambda: chance.choice(WORKERS), "")
    while killed.total() < wanted:
        output, trial = tmp_path / f"out-{trial}", trial + 1
        with killing_workers(endless, chance, 4.0) as these:
            assert run_here("answer", source, output, *SMALL) == 0
        killed += these
        print(f"workers trial {trial}: {dict(these)}, {killed.total()} kills", flush=True)  # noqa: T201
        assert rows(output)["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(2 * ROWS)]
        assert (manifest(output)["errors"], manifest(output)["findings"]) == ({}, [])
    print(f"workers: {killed.total()} kills in {trial} runs: {dict(killed)}", flush=True)  # noqa: T201


def test_killed_at_random_a_training_comes_to_the_same(tmp_path: Path) -> None:
    chance, source = random.Random(os.environ.get("VQA_RAY_SOAK_SEED", "0")), finetune.training_input(tmp_path / "in")

    def argv(output: Path) -> list[str]:
        often = ("--epochs", "3", "--checkpoint-every", "4", "--max-failures", "9")
        return finetune.arguments(source, output, *often)

    undisturbed = tmp_path / "undisturbed"
    assert finish(argv(undisturbed)) == (0, "")
    killed: Counter[str] = Counter()
    trial = 0
    while killed.total() < KILLS:
        output, trial, code = tmp_path / f"out-{trial}", trial + 1, -1
        while code != 0:
            parts = ("trainer", "trainer", "driver", "sigterm", "raylet", "head")
            code, these = disturbed(argv(output), parts, chance, KILLS - killed.total(), (5.0, 60.0))
            killed += these
            print(f"finetune trial {trial}: {dict(these)} → {code}", flush=True)  # noqa: T201
            if killed.total() >= KILLS and code != 0:
                assert finish(argv(output)) == (0, "")
                break
        assert finetune.losses(output)[-1] == pytest.approx(finetune.losses(undisturbed)[-1], rel=1e-3)
        assert manifest(output)["accuracy"] == manifest(undisturbed)["accuracy"]
    print(f"finetune: {killed.total()} kills in {trial} outputs: {dict(killed)}", flush=True)  # noqa: T201


def test_a_run_survives_the_death_of_a_node(tmp_path: Path) -> None:
    """Of three nodes one is killed, in each trial at another moment; a new one takes its place afterwards."""
    trials, chance = int(os.environ.get("VQA_RAY_SOAK_NODES", "20")), random.Random(3)
    source, moments = parquet_input(tmp_path / "in", ROWS, shards=6), list[int]()
    with three_nodes() as cluster:
        more = ("--address", cluster.address, "--num-actors", "2", "--rows-per-file", "24", "--batch-size", "24")
        attempt = 0
        while len(moments) < trials:
            output, attempt = tmp_path / f"out-{attempt}", attempt + 1
            with started(*arguments("answer", source, output, *more)) as process:
                while not committed_tasks(RunDirectory(str(output))):
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.05)
                time.sleep(chance.uniform(0, 4))
                before, is_late = len(committed_tasks(RunDirectory(str(output)))), process.poll() is not None
                killed = kill_node(cluster, chance)
                _, told = process.communicate(timeout=900)
                assert process.returncode == 0, told
            cluster.add_node(**NODE)
            assert rows(output)["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(ROWS)]
            assert (manifest(output)["errors"], manifest(output)["findings"]) == ({}, [])
            if not is_late:
                moments.append(before)
                print(f"node {len(moments)}: {killed} processes killed after {before} of 25 files", flush=True)  # noqa: T201
    print(f"{trials} nodes killed, after {moments} files", flush=True)  # noqa: T201


def head_of(driver: int) -> GcsClient:
    """The head of the Ray of a run under way."""
    addresses = (re.search(rb"--gcs-address=(\S+)", line) for line in processes_below(driver).values())
    address = next(found[1].decode() for found in addresses if found)
    # The Ray of the command has written it for this machine.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    return GcsClient(address=address)


def answered_rows(head: GcsClient) -> int:
    """The rows that the model of a run has answered, as its actors have reported it."""
    space = b"vqa-ray"
    keys = [key for key in head.internal_kv_keys(b"part-", space) if not key.startswith(b"sizes-")]
    return sum(ReturnedRows.from_json(head.internal_kv_get(key, space)).rows for key in keys)


@pytest.mark.parametrize("seed", range(3))
def test_little_is_answered_again_after_a_kill_at_the_half(seed: int, tmp_path: Path) -> None:
    """With files of the size that the command chooses itself; actors report twice a second, after a batch of 32."""
    count, output = 4_000, tmp_path / "out"
    source = parquet_input(tmp_path / "in", count, shards=8)
    argv = arguments("answer", source, output, "--model", "bundled:catalog-vilt")
    run = RunDirectory(str(output))
    with started(*argv) as process:
        while size(committed_keys(run)) < count * (0.45 + 0.05 * seed):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        answered = answered_rows(head_of(process.pid))
        process.kill()
        process.communicate()
    kept = size(committed_keys(run))
    assert finish(argv) == (0, "")
    timing = manifest(output)["timing"]
    assert timing["rows_here"] == count - kept
    unreported = 32 + 0.5 * timing["rows_here"] / timing["duration_s"]
    again = (answered - kept) / count, (answered + unreported - kept) / count
    print(f"{answered} rows were reported, {kept} written: {again[0]:.1%} to {again[1]:.1%} of all are answered again")  # noqa: T201
    assert -unreported <= answered - kept
    assert again[1] <= 0.1
