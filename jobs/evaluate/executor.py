"""The steps of an evaluation in this process, in others of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray

from vqa_ray.errors import RunError, one_line
from vqa_ray.jobs.runtime.cluster.connect import connect_ray, given_address
from vqa_ray.judging.work import Work, do_step

# Below, starting processes takes longer than the work.
_ROWS_FOR_PROCESSES = 40_000

# The work, the name of a step, its items → results in order.
Steps = Callable[[Work, str, Sequence[Any]], Iterator[Any]]


@contextmanager
def executor(rows: int, address: str | None) -> Iterator[Steps]:
    """Give a function that does steps.

    Args:
        rows: about how many there are.
        address: of a Ray cluster to join; None for this machine, unless RAY_ADDRESS names one.
    """
    cores = len(os.sched_getaffinity(0))
    if given_address(address) is not None:
        with connect_ray(address) as cluster:
            yield partial(_on_ray, max(1, int(cluster.resources.get("CPU", 1))))
    elif rows < _ROWS_FOR_PROCESSES or cores < 2:
        yield _here
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(cores, context, _prepare_worker, (os.getpid(),)) as pool:
            yield partial(_in_processes, pool)


def _here(work: Work, step: str, items: Sequence[Any]) -> Iterator[Any]:
    return (do_step(work, step, item) for item in items)


def _in_processes(pool: ProcessPoolExecutor, work: Work, step: str, items: Sequence[Any]) -> Iterator[Any]:
    try:
        yield from pool.map(partial(do_step, work, step), items)
    except BrokenProcessPool as error:
        raise RunError("a process of the evaluation was killed, perhaps for want of memory") from error


def _on_ray(slots: int, work: Work, step: str, items: Sequence[Any]) -> Iterator[Any]:
    remote, shared = ray.remote(num_cpus=1)(do_step), ray.put(work)
    running: list[Any] = []
    try:
        for item in items:
            if len(running) >= 2 * slots:
                yield ray.get(running.pop(0))
            running.append(remote.remote(shared, step, item))
        yield from map(ray.get, running)
    except (ray.exceptions.RaySystemError, ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise RunError(f"a task of the evaluation was lost: {one_line(error)}") from error


def _prepare_worker(parent: int) -> None:
    """Leave Ctrl-C to the command, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
