"""Where the parts of a pipeline run and how much they may hold: numbers only, no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vqa_ray.errors import RequestError

MIB = 2**20
# One image at the size of the largest models: 384 x 512 pixels, 3 bytes each.
IMAGE_BYTES = 600_000

# A CPU actor shares its cores with decoding on small machines, and has its own on larger ones.
_SMALL_MACHINE_CPUS = 8
_THREADS_ON_LARGE_MACHINE = 4
_MODEL_SHARE = 0.75
_READERS_PER_CPU = 0.25

_CPU_BATCH, _GPU_BATCH = 32, 256
# Reading and writing wait for the network most of the time.
READ_CPUS = 0.25
WRITE_CPUS = 0.25
DECODE_CPUS = 1.0


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """What the user asked for; None where the machine decides.

    Attributes:
        batch_size: rows per model call.
        min_actors, max_actors: actors that each hold the model.
        gpus_per_actor: GPUs of each; a fraction shares one.
        device: `cpu` keeps actors off the GPUs.
    """

    batch_size: int | None = None
    min_actors: int | None = None
    max_actors: int | None = None
    gpus_per_actor: float | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """Resources of every operator.

    Attributes:
        batch_size: rows per model call.
        max_readers: read tasks at a time. One feeds several decoding tasks, and each is one worker process more: Ray
            gives a worker any task, so in time all of them hold what decoding needs, some 250 MB.
        rows_per_block: rows that a read block should hold, so that few shards still parallelise.
        block_bytes: the most that a block should hold.
        buffer_bytes: the most that blocks between operators may take together; keeps memory flat.
        min_actors, max_actors: size of the actor pool.
        actor_cpus, actor_gpus: of each actor. `actor_cpus` differs from `DECODE_CPUS`, or Ray Data would fuse
            decoding into the actor.
        actor_threads: CPU threads of the model in an actor; None leaves them alone (GPU).
    """

    batch_size: int
    max_readers: int
    rows_per_block: int
    block_bytes: int
    buffer_bytes: int
    min_actors: int
    max_actors: int
    actor_cpus: float
    actor_gpus: float
    actor_threads: int | None


def plan_resources(cpus: float, gpus: float, wishes: ResourceRequest, cores: int | None = None) -> ResourcePlan:
    """A placement for a cluster.

    Args:
        cpus, gpus: logical CPUs and GPUs of the cluster.
        wishes: what the user asked for.
        cores: CPU cores of the machine where logical CPUs do not tell (a local Ray); None: as many as `cpus`.
    """
    on_gpu = gpus > 0 and not (wishes.device or "").startswith("cpu") and wishes.gpus_per_actor != 0
    if wishes.gpus_per_actor:
        on_gpu = True
    batch_size = wishes.batch_size or (_GPU_BATCH if on_gpu else _CPU_BATCH)
    if on_gpu:
        actor_gpus = wishes.gpus_per_actor or 1.0
        actor_cpus, threads = DECODE_CPUS / 2, None
        fitting = max(1, math.floor(gpus / actor_gpus))
    else:
        actor_gpus = 0.0
        cores = cores or int(cpus)
        if cores <= _SMALL_MACHINE_CPUS:
            actor_cpus, threads, fitting = DECODE_CPUS / 2, cores, 1
        else:
            threads = _THREADS_ON_LARGE_MACHINE
            actor_cpus = float(threads)
            fitting = max(1, math.floor(_MODEL_SHARE * cpus / actor_cpus))
    max_actors = wishes.max_actors or max(fitting, wishes.min_actors or 1)
    min_actors = min(wishes.min_actors or 1, max_actors)
    if threads is not None and max_actors > fitting:
        threads = max(1, threads // max_actors)
    per_batch = batch_size * IMAGE_BYTES
    return ResourcePlan(
        batch_size=batch_size,
        max_readers=max(1, int(cpus * _READERS_PER_CPU)),
        rows_per_block=min(max(batch_size, 8), 256),
        block_bytes=min(max(per_batch, 8 * MIB), 32 * MIB),
        buffer_bytes=max(128 * MIB, 6 * per_batch * max_actors),
        min_actors=min_actors,
        max_actors=max_actors,
        actor_cpus=actor_cpus,
        actor_gpus=actor_gpus,
        actor_threads=threads,
    )


def minimum_resources(placement: ResourcePlan) -> dict[str, float]:
    """What must be free at the same time for a pipeline to move at all: its actors and one task of each kind."""
    return {
        "CPU": placement.min_actors * placement.actor_cpus + READ_CPUS + DECODE_CPUS + WRITE_CPUS,
        "GPU": placement.min_actors * placement.actor_gpus,
    }


def check(wanted: Mapping[str, float], cluster: Mapping[str, float], where: str) -> None:
    """Refuse a plan that the cluster could never run.

    Raises:
        RequestError: with every resource that is short.
    """
    short = [
        f"{name} {amount:g} wanted, {cluster.get(name, 0.0):g} there"
        for name, amount in wanted.items()
        if amount > cluster.get(name, 0.0)
    ]
    if short:
        raise RequestError(
            f"{where}: too small for this job: {'; '.join(short)}; use a larger cluster, fewer --num-actors or "
            "--num-gpus, or --wait-for-cluster if it grows by itself"
        )
