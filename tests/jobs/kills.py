"""Kill the processes of a command at random moments, by the part that they play."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.jobs.commands import started

# Part → what the command line of its process holds. Ray gives each worker the name of what it does.
MARKS = {
    "actor": b"(ModelActor)",
    "decoder": b"(PrepareImages)",
    "reader": b"ray::ReadShards",
    "writer": b"ray::Write",
    "trainer": b"RayTrainWorker",
    "raylet": b"/raylet/raylet",
    "head": b"/gcs/gcs_server",
}
# A command survives the death of all others.
FATAL = ("driver", "sigterm", "raylet", "head")
_PATIENCE_S = 20.0
_GRACE_S = 30.0
_DEADLINE_S = 900.0
NODE = {"num_cpus": 2, "object_store_memory": 256 * 2**20}


def processes_below(root: int) -> dict[int, bytes]:
    """Map each process that `root` started, or that those started, to its command line."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found, waiting = {}, children.get(root, [])
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        with suppress(OSError):
            found[process] = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")
    return found


def kill_worker(root: int, part: str, chance: random.Random, has_ended: Callable[[], bool]) -> bool:
    """Kill one process of a part below `root`; False where none shows up within some seconds."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and not has_ended():
        found = [process for process, line in processes_below(root).items() if MARKS[part] in line]
        if found:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(found), signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def kill_part(driver: subprocess.Popen[str], part: str, chance: random.Random) -> bool:
    """Kill a command or one of its processes; False where none of that part shows up within some seconds."""
    if part in MARKS:
        return kill_worker(driver.pid, part, chance, lambda: driver.poll() is not None)
    driver.send_signal(signal.SIGTERM if part == "sigterm" else signal.SIGKILL)
    return True


def disturbed(
    argv: Sequence[str], parts: Sequence[str], chance: random.Random, kills: int, pauses_s: tuple[float, float]
) -> tuple[int, Counter[str]]:
    """Run a command and kill parts of it, one after another, until it ends.

    Args:
        argv: the command.
        parts: those to choose from.
        chance: chooses them, and the moments.
        kills: how many at most.
        pauses_s: shortest and longest time before the next kill.

    Returns:
        The exit code, and part → kills. The code of a command that dies of a kill is checked here.
    """
    killed: Counter[str] = Counter()
    with started(*argv) as process:
        while process.poll() is None and killed.total() < kills:
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(*pauses_s))
                break
            part = chance.choice(parts)
            if not kill_part(process, part, chance):
                continue
            killed[part] += 1
            if part not in FATAL:
                continue
            began = time.monotonic()
            _, told = process.communicate(timeout=_DEADLINE_S)
            if part == "sigterm":
                # Unless the command had ended before the signal came.
                assert process.returncode in (128 + signal.SIGTERM, 0), (process.returncode, told)
                assert time.monotonic() - began < _GRACE_S
            elif part == "driver":
                assert process.returncode in (-signal.SIGKILL, 0), (process.returncode, told)
            else:
                assert "Traceback" not in told, told
            return process.returncode, killed
        _, told = process.communicate(timeout=_DEADLINE_S)
        assert process.returncode == 0, (process.returncode, told)
        return process.returncode, killed


@contextmanager
def killing_workers(parts: Iterable[str], chance: random.Random, pause_s: float) -> Iterator[Counter[str]]:
    """Kill workers of the Ray of this process while the block runs; yields part → kills by now.

    Args:
        parts: one after another.
        chance: chooses among the workers of a part, and the moments.
        pause_s: before each kill, half of it on average.
    """
    ended, killed = threading.Event(), Counter[str]()

    def kill() -> None:
        for part in parts:
            if ended.wait(chance.uniform(0, pause_s)):
                return
            killed[part] += kill_worker(os.getpid(), part, chance, ended.is_set)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


@contextmanager
def three_nodes() -> Iterator[Cluster]:
    """A cluster of three nodes on this machine: a head, to which drivers connect, and two others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})  # type: ignore[no-untyped-call]
        try:
            for _ in range(2):
                cluster.add_node(**NODE)  # type: ignore[no-untyped-call]
            cluster.wait_for_nodes()  # type: ignore[no-untyped-call]
            yield cluster
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]


def kill_node(cluster: Cluster, chance: random.Random) -> int:
    """Kill all processes of a node that is not the head; gives the number of processes."""
    node = chance.choice(sorted(cluster.worker_nodes, key=id))
    raylet = node.all_processes["raylet"][0].process.pid
    doomed = [raylet, *processes_below(raylet)]
    for process in doomed:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)  # type: ignore[no-untyped-call]
    return len(doomed)
