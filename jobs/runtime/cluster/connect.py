"""The Ray that a job runs on: a local one of its own, or a cluster that it joins."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from vqa_ray.errors import RequestError, one_line
from vqa_ray.jobs.runtime.cluster import local as local_ray
from vqa_ray.jobs.runtime.cluster.address import Address, reachable
from vqa_ray.jobs.runtime.cluster.directory import ray_directory
from vqa_ray.jobs.runtime.cluster.reaper import no_leftovers
from vqa_ray.jobs.runtime.logs import are_json, native_messages_to
from vqa_ray.jobs.runtime.progress import announce_when_slow
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.pipelines.local_execution import no_helper_actors
from vqa_ray.pipelines.resources import NODE_GPUS
from vqa_ray.pipelines.worker_logs import workers_log_json

logger = logging.getLogger(__name__)

# Reading, decoding, the model and writing must be able to run side by side, however few cores there are.
MIN_LOCAL_CPUS = 4
_MAX_STORE_BYTES = 4 * 2**30
_MIN_STORE_BYTES = 128 * 2**20
_SHARED_MEMORY = Path("/dev/shm")
_DRIVER_LOG = "vqa-ray-driver.err"
# Of the message of `ray._private.utils.check_version_info`.
_VERSIONS = re.compile(r"Ray: (\S+) Python: (\S+) This process.* Ray: (\S+) Python: (\S+)")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray that a job runs on.

    Attributes:
        resources: logical resources by name: CPU, GPU, memory (bytes), object_store_memory (bytes), `NODE_GPUS`.
        cores: CPU cores where they differ from the logical CPUs (a local Ray), else None.
        name: for messages.
    """

    resources: dict[str, float]
    cores: int | None
    name: str


@contextmanager
def connect_ray(address: str | None) -> Iterator[Cluster]:
    """Start a local Ray, or join the cluster at `address` or RAY_ADDRESS, until the block ends.

    A Ray that this process has joined already is used as it is, and left running.

    Raises:
        RequestError: no cluster answers at the address, or no local Ray can be started.
    """
    if ray.is_initialized():
        yield _cluster(_cores_here(), "the running Ray")
        return
    # Without these, Ray asks about usage statistics and warns about accelerators on machines that have none.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with ExitStack() as stack:
        silence = stack.enter_context(ExitStack())
        silence.enter_context(native_messages_to(Path(os.devnull)))
        given = given_address(address)
        if given is None:
            stack.enter_context(no_leftovers())
        with STOP.kept():
            started, cluster = _start() if given is None else _join(given)
        if given is None:
            stack.enter_context(no_helper_actors())
        _silence()
        silence.close()
        stack.enter_context(native_messages_to(Path(started.address_info["session_dir"]) / "logs" / _DRIVER_LOG))
        stack.callback(_leave)
        yield cluster


def _leave() -> None:
    """Leave Ray, whose core resets SIGTERM; a publication afterwards would end without a word."""
    with STOP.kept():
        ray.shutdown()


def given_address(address: str | None) -> Address | None:
    """Find the cluster to join; None for a local Ray."""
    given = Address(address) if address else Address(os.environ.get("RAY_ADDRESS", ""), "RAY_ADDRESS")
    return None if given.text in ("", "local") else given


def _join(address: Address) -> tuple[Any, Cluster]:
    with announce_when_slow(f"looking for the Ray cluster at {address.text}"):
        resolved = reachable(address)
    try:
        started = ray.init(address=resolved, log_to_driver=False, logging_level=logging.ERROR, **_worker_logs())
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise RequestError(f"{address}: this driver cannot join the cluster: {_mismatch(error)}") from error
    return started, _cluster(None, f"cluster {address.text}")


def _start() -> tuple[Any, Cluster]:
    logger.info("starting a local Ray")
    cores = len(os.sched_getaffinity(0))
    directory = ray_directory()
    store_bytes, store_directory = _store(directory)
    for last in (False, True):
        try:
            started = local_ray.start(
                num_cpus=max(MIN_LOCAL_CPUS, cores),
                object_store_memory=store_bytes,
                logging_level=logging.ERROR,
                _temp_dir=str(directory),
                _plasma_directory=store_directory,
                **_worker_logs(),
            )
            return started, _cluster(cores, "this machine")
        except Exception as error:
            # Ray raises nothing narrower when its processes do not come up in time.
            ray.shutdown()
            if last or isinstance(error, ValueError | TypeError):
                raise RequestError(
                    f"no local Ray could be started: {one_line(error)}; its logs are in {directory}/session_latest/logs"
                ) from error
            logger.warning("a local Ray did not start: %s; trying once more", one_line(error))
    raise AssertionError("unreachable")


def _worker_logs() -> dict[str, Any]:
    """Let workers log JSON lines where this process does."""
    return {"job_config": workers_log_json()} if are_json() else {}


def _mismatch(error: BaseException) -> str:
    """Say in one line why `ray.init` refuses; with both versions where they differ."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    text = one_line(chain[-1], 1000)
    found = _VERSIONS.search(text)
    if found is None:
        return text
    theirs, ours = (
        f"Ray {ray_version}, Python {python}" for ray_version, python in (found.group(1, 2), found.group(3, 4))
    )
    return f"the cluster runs {theirs}, this process {ours}; wanted are the same versions"


def _cores_here() -> int | None:
    """Count the CPU cores, when all of the running Ray is on this machine."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    alone = len(alive) == 1 and alive[0]["NodeManagerHostname"] == socket.gethostname()
    return len(os.sched_getaffinity(0)) if alone else None


def _cluster(cores: int | None, name: str) -> Cluster:
    nodes = [node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    resources: dict[str, float] = dict(ray.cluster_resources())  # type: ignore[no-untyped-call]
    return Cluster(resources | {NODE_GPUS: max(nodes, default=0.0)}, cores, name)


def _store(directory: Path) -> tuple[int, str | None]:
    """Choose the object store of a local Ray: its bytes, and its directory where /dev/shm is too small."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    wanted = int(max(_MIN_STORE_BYTES, min(_MAX_STORE_BYTES, 0.3 * free)))
    if not _SHARED_MEMORY.is_dir():
        return wanted, None
    shared = int(0.9 * shutil.disk_usage(_SHARED_MEMORY).free)
    if shared >= _MIN_STORE_BYTES:
        return min(wanted, shared), None
    logger.warning(
        "%s has only %.0f MB free: Ray's object store lies in %s, which is slower (docker run --shm-size=2g)",
        _SHARED_MEMORY,
        shared / 1e6,
        directory,
    )
    return min(wanted, 4 * _MIN_STORE_BYTES), str(directory)


def _silence() -> None:
    """Keep Ray Data off the console, where this project logs in its own words; its log files keep everything."""
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler) and "File" not in type(handler).__name__:
            handler.setLevel(logging.CRITICAL + 1)
