"""Clusters on this machine: nodes of several kinds, and a cluster that grows by Ray's own autoscaler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster

from tests.helpers.ray_head import START_S, free_ports
from tests.jobs.kills import MARKS, processes_below

_STORE_BYTES = 256 * 2**20


@contextmanager
def cluster_of(head: Mapping[str, Any], *others: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """A cluster on this machine: a head, to which drivers connect, and other nodes.

    Args:
        head, others: arguments of `Cluster.add_node`.

    Yields:
        (its address, the process of each node's raylet)
    """
    common = {"object_store_memory": _STORE_BYTES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        cluster = Cluster(initialize_head=True, head_node_args={**common, "include_dashboard": False, **head})
        try:
            nodes = [cluster.head_node, *(cluster.add_node(**common, **node) for node in others)]
            cluster.wait_for_nodes()
            yield cluster.address, [node.all_processes["raylet"][0].process.pid for node in nodes]
        finally:
            cluster.shutdown()


def watched(process: subprocess.Popen[str], root: int, deadline_s: float) -> dict[str, set[int]]:
    """Wait for the end of a command, and look at the workers below `root` meanwhile.

    Returns:
        Part of `MARKS` → the raylets below which a process of that part was at work.
    """
    seen: dict[str, set[int]] = defaultdict(set)
    deadline = time.monotonic() + deadline_s
    while process.poll() is None:
        assert time.monotonic() < deadline
        for raylet in raylets_below(root):
            for line in processes_below(raylet).values():
                for part in ("actor", "decoder"):
                    if MARKS[part] in line:
                        seen[part].add(raylet)
        time.sleep(0.1)
    _, told = process.communicate()
    assert process.returncode == 0, told
    return seen


def raylets_below(root: int) -> set[int]:
    """The process of each node below another process."""
    programs = {number: line.partition(b" ")[0] for number, line in processes_below(root).items()}
    return {number for number, program in programs.items() if program.endswith(MARKS["raylet"])}


@contextmanager
def growing_cluster(head: Mapping[str, float], worker: Mapping[str, float], most: int) -> Iterator[tuple[str, int]]:
    """A head whose autoscaler adds nodes on this machine when there is work for them.

    Args:
        head, worker: the resources of each.
        most: workers.

    Yields:
        (its address, the process that all others are below)
    """
    directory = Path(tempfile.mkdtemp(prefix="g", dir=os.environ.get("RAY_TMPDIR")))
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    config = directory / "autoscaler.json"
    config.write_text(json.dumps(_config(address, head, worker, most)))
    command = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", str(int(head["CPU"]))),
        *("--object-store-memory", str(_STORE_BYTES), "--include-dashboard", "false", "--temp-dir", str(directory)),
        *("--autoscaling-config", str(config)),
    ]
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    log = directory / "head.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=sink, stderr=sink)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_AUTH_MODE", "disabled")
            _await_head(address, process, log)
            yield address, process.pid
    finally:
        below = list(processes_below(process.pid))
        process.terminate()
        process.wait(60)
        # Nodes of the autoscaler outlive it.
        for number in below:
            _end(number)
        shutil.rmtree(directory, ignore_errors=True)


def _end(number: int) -> None:
    try:
        os.kill(number, 9)
    except ProcessLookupError:
        return


def _await_head(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        if "--block" in log.read_text():
            GcsClient(address=address)
            return
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def _config(address: str, head: Mapping[str, float], worker: Mapping[str, float], most: int) -> dict[str, Any]:
    types = {
        "ray.head.default": {"resources": dict(head), "node_config": {}, "max_workers": 0},
        "worker": {"resources": dict(worker), "node_config": {}, "min_workers": 0, "max_workers": most},
    }
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "growing",
        "max_workers": most,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        # A node of this provider has no address of its own, by which it could be updated or found to be dead.
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "disable_node_updaters": True,
            "worker_liveness_check": False,
        },
        "auth": {},
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        **{f"{name}_commands": [] for name in commands},
    }
