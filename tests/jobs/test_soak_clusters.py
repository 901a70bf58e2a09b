"""Nodes of several kinds, nodes that come, and weights that each node fetches once; `make soak` runs this."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.helpers.coloured import NAMES, parquet_input
from tests.helpers.faulty_store import faulty_s3
from tests.helpers.hub import hub_server
from tests.helpers.tiny import save_tiny_vilt
from tests.jobs.clusters import cluster_of, growing_cluster, watched
from tests.jobs.commands import arguments, manifest, rows, started
from vqa_ray.storage.filesystem import copy_file

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
ROWS = 600
DEADLINE_S = 900.0
WEIGHTS = "model.safetensors"
Served: TypeAlias = Callable[[Path, Path], AbstractContextManager[tuple[str, Callable[[], int]]]]


def check(output: Path) -> None:
    assert rows(output)["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(ROWS)]
    assert (manifest(output)["errors"], manifest(output)["findings"]) == ({}, [])


def test_nodes_without_gpus_decode_for_those_with(tmp_path: Path) -> None:
    """A head, two nodes of CPUs, and one whose single CPU its two actors share."""
    source, output = parquet_input(tmp_path / "in", ROWS, shards=6), tmp_path / "out"
    nodes = ({"num_cpus": 1}, {"num_cpus": 2}, {"num_cpus": 2}, {"num_cpus": 1, "num_gpus": 2})
    with cluster_of(*nodes) as (address, (head, first, second, with_gpus)):
        more = ("--address", address, "--num-gpus", "1", "--batch-size", "8", "--rows-per-file", "24")
        with started(*arguments("answer", source, output, *more)) as process:
            seen = watched(process, os.getpid(), DEADLINE_S)
    check(output)
    assert seen["actor"] == {with_gpus}
    assert {first, second} <= seen["decoder"] <= {head, first, second}


def test_a_cluster_grows_for_a_run(tmp_path: Path) -> None:
    """It begins without a GPU; the actors of the pool bring nodes with one."""
    source, output = parquet_input(tmp_path / "in", ROWS, shards=6), tmp_path / "out"
    with growing_cluster({"CPU": 2}, {"CPU": 1, "GPU": 1}, most=2) as (address, root):
        asked = arguments("answer", source, output, "--address", address, "--num-gpus", "1", "--num-actors", "1-2")
        with started(*asked) as process:
            _, told = process.communicate(timeout=DEADLINE_S)
            assert (process.returncode, "--wait-for-cluster if it grows by itself" in told) == (2, True), told
        with started(*asked, "--wait-for-cluster", "--batch-size", "8", "--rows-per-file", "24") as process:
            seen = watched(process, root, DEADLINE_S)
        check(output)
        assert 1 <= len(seen["actor"]) <= 2


@contextmanager
def in_a_bucket(model: Path, scratch: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """A model in a bucket; how often its weights were fetched."""
    with faulty_s3("weights") as (bucket, store):
        for file in model.iterdir():
            copy_file(str(file), f"{bucket}/model/{file.name}")
        store.requests.clear()
        yield f"{bucket}/model", lambda: store.requests[f"GET /weights/model/{WEIGHTS}"]


@contextmanager
def on_the_hub(model: Path, scratch: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """A model on a hub; how often its weights were fetched."""
    with hub_server(scratch / "hub") as hub:
        hub.add("org/model", model)
        yield "org/model", lambda: hub.downloads.count(WEIGHTS)


@pytest.mark.parametrize("served", [in_a_bucket, on_the_hub])
def test_each_node_fetches_weights_once(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes of two actors each, with a cache of its own as on two machines; the command has one as well."""
    caches = [{"VQA_RAY_CACHE": f"{tmp_path}/{name}", "HF_HOME": f"{tmp_path}/{name}-hub"} for name in "ab"]
    nodes = [{"num_cpus": 1, "num_gpus": 2, "env_vars": cache} for cache in caches]
    source, output = parquet_input(tmp_path / "in", ROWS, shards=6), tmp_path / "out"
    monkeypatch.setenv("VQA_RAY_CACHE", f"{tmp_path}/command")
    with served(save_tiny_vilt(tmp_path / "model"), tmp_path) as (model, fetched):
        with cluster_of({"num_cpus": 3}, *nodes) as (address, (_, *others)):
            more = ("--address", address, "--model", model, "--num-gpus", "1", "--num-actors", "4-4")
            with started(*arguments("answer", source, output, *more, "--batch-size", "8")) as process:
                seen = watched(process, os.getpid(), DEADLINE_S)
        assert manifest(output)["ok"] == ROWS
        assert seen["actor"] == set(others)
        assert fetched() == 1 + len(others)
