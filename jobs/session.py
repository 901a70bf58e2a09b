"""The Ray that a job runs on: a local one of its own, or a cluster that it joins."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import ray

from jobs import local_ray
from jobs.logs import native_messages_to
from pipelines.local_execution import no_helper_actors
from vqa_ray.errors import RequestError, one_line

# Reading, decoding, the model and writing must be able to run side by side, however few cores there are.
MIN_LOCAL_CPUS = 4
_MAX_STORE_BYTES = 4 * 2**30
_MIN_STORE_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a job has to run on.

    Attributes:
        resources: logical resources by name: CPU, GPU, memory (bytes), object_store_memory (bytes).
        cores: CPU cores where the logical CPUs do not tell them (a local Ray), else None.
        name: for messages.
    """

    resources: dict[str, float]
    cores: int | None
    name: str


@contextmanager
def session(address: str | None) -> Iterator[Cluster]:
    """Start a local Ray, or join the cluster at `address` or RAY_ADDRESS, until the block ends.

    A Ray that this process has joined already is used as it is, and left running.

    Raises:
        RequestError: no cluster answers at the address.
    """
    if ray.is_initialized():
        yield _cluster(_cores_here(), "the running Ray")
        return
    address = address or os.environ.get("RAY_ADDRESS")
    # Without these, Ray asks about usage statistics and warns about accelerators on machines that have none.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cores = len(os.sched_getaffinity(0))
    try:
        if address and address != "local":
            started = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            cluster = _cluster(None, f"cluster {address}")
        else:
            started = local_ray.start(
                num_cpus=max(MIN_LOCAL_CPUS, cores), object_store_memory=_store_bytes(), logging_level=logging.ERROR
            )
            cluster = _cluster(cores, "this machine")
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = f"{one_line(error)}{_hint(address)}"
        raise RequestError(f"--address {address or 'local'}: no Ray to run on: {reason}") from error
    _silence()
    alone = nullcontext() if cluster.cores is None else no_helper_actors()
    try:
        with alone, native_messages_to(Path(started.address_info["session_dir"]) / "logs" / "vqa-ray-driver.err"):
            yield cluster
    finally:
        ray.shutdown()


def _hint(address: str | None) -> str:
    """Clusters of `ray start` ask for a token, which Ray sends only when it is told to."""
    if address in (None, "", "local") or os.environ.get("RAY_AUTH_MODE") == "token":
        return ""
    return " (a cluster started by `ray start` wants its token, which is sent with RAY_AUTH_MODE=token)"


def _cores_here() -> int | None:
    """CPU cores, when all of the running Ray is on this machine."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    alone = len(alive) == 1 and alive[0]["NodeManagerHostname"] == socket.gethostname()
    return len(os.sched_getaffinity(0)) if alone else None


def _cluster(cores: int | None, name: str) -> Cluster:
    return Cluster(dict(ray.cluster_resources()), cores, name)


def _store_bytes() -> int:
    """Object store of a local Ray: a share of what is free, in memory and in /dev/shm."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else free
    return int(max(_MIN_STORE_BYTES, min(_MAX_STORE_BYTES, 0.3 * free, 0.9 * shared)))


def _silence() -> None:
    """Ray Data tells on the console what this project tells in its own words; its log files keep everything."""
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler) and "File" not in type(handler).__name__:
            handler.setLevel(logging.CRITICAL + 1)
