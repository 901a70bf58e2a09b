"""The resources of a pipeline's operators, planned for a cluster: numbers only, no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vqa_ray.errors import RequestError

MIB = 2**20
# One image at the size of the largest models: 384 x 512 pixels, 3 bytes each.
IMAGE_BYTES = 600_000

# A CPU actor shares its cores with decoding on a small machine, and has cores of its own on a larger one.
_SMALL_MACHINE_CPUS = 8
_THREADS_ON_LARGE_MACHINE = 4
_MODEL_SHARE = 0.75
_READERS_PER_CPU = 0.25

_CPU_BATCH, _GPU_BATCH = 32, 256
_BLOCKS_PER_READER, _MAX_READ_BLOCK_ROWS = 128, 1_024
# Of a decoded block: at least, and at most where a batch has more.
_LEAST_DECODED_ROWS, _DECODED_ROWS = 8, 256
# Reading and writing mostly wait for the network.
READ_CPUS = 0.25
WRITE_CPUS = 0.25
DECODE_CPUS = 1.0
# The GPUs of the node that has most, among the resources of a cluster.
NODE_GPUS = "GPU on one node"


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """The user's choice of resources; None leaves a choice to `plan_resources`.

    Attributes:
        batch_size: rows per model call.
        min_actors, max_actors: size of the actor pool; each actor holds the model.
        gpus_per_actor: GPUs of an actor; a fraction shares one.
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
        max_readers: concurrent read tasks. One feeds several decoding tasks, and each adds a worker process: Ray runs
            any task in any worker, so in time every worker holds the memory of decoding, some 250 MB.
        rows_per_block: rows that are decoded at a time and passed on as one block, and the least rows of a read block.
        block_bytes: target upper limit of a block.
        buffer_bytes: upper limit of all blocks between operators; keeps memory flat.
        min_actors, max_actors: size of the actor pool.
        actor_cpus, actor_gpus: of one actor. `actor_cpus` differs from `DECODE_CPUS`, or Ray Data would fuse decoding
            into the actor.
        actor_threads: CPU threads of the model in an actor; None leaves them alone (GPU).
        second: of the pool of a second model, which has its own batches and actors; None without one.
        row_timeout_s: see `ModelActor`.
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
    second: ResourcePlan | None = None
    row_timeout_s: float = 0.0

    def rows_per_read_block(self, rows: int) -> int:
        """Return the target rows of a read block: few enough that a small input still keeps all CPUs busy.

        A block costs Ray as much as some hundred rows of a fast model, so a large input is read in larger ones.

        Args:
            rows: of the input, estimated.
        """
        spread = rows // (_BLOCKS_PER_READER * self.max_readers)
        return max(self.rows_per_block, min(spread, _MAX_READ_BLOCK_ROWS))


def plan_resources(cpus: float, gpus: float, request: ResourceRequest, cores: int | None = None) -> ResourcePlan:
    """Plan the resources of a pipeline on a cluster.

    Args:
        cpus: logical CPUs of the cluster.
        gpus: GPUs of the cluster.
        request: the user's choices.
        cores: CPU cores of the machine where they differ from the logical CPUs (a local Ray); None for `cpus`.
    """
    on_gpu = gpus > 0 and not (request.device or "").startswith("cpu") and request.gpus_per_actor != 0
    if request.gpus_per_actor:
        on_gpu = True
    batch_size = request.batch_size or (_GPU_BATCH if on_gpu else _CPU_BATCH)
    if on_gpu:
        actor_gpus = request.gpus_per_actor or 1.0
        actor_cpus, threads = DECODE_CPUS / 2, None
        fitting = max(1, _actors_on(gpus, actor_gpus))
    else:
        actor_gpus = 0.0
        cores = cores or int(cpus)
        if cores <= _SMALL_MACHINE_CPUS:
            actor_cpus, threads, fitting = DECODE_CPUS / 2, cores, 1
        else:
            threads = _THREADS_ON_LARGE_MACHINE
            actor_cpus = float(threads)
            fitting = max(1, math.floor(_MODEL_SHARE * cpus / actor_cpus))
    max_actors = request.max_actors or max(fitting, request.min_actors or 1)
    min_actors = min(request.min_actors or 1, max_actors)
    if threads is not None and max_actors > fitting:
        threads = max(1, threads // max_actors)
    per_batch = batch_size * IMAGE_BYTES
    return ResourcePlan(
        batch_size=batch_size,
        max_readers=max(1, int(cpus * _READERS_PER_CPU)),
        rows_per_block=_rows_per_block(batch_size),
        block_bytes=min(max(per_batch, 8 * MIB), 32 * MIB),
        buffer_bytes=max(128 * MIB, 6 * per_batch * max_actors),
        min_actors=min_actors,
        max_actors=max_actors,
        actor_cpus=actor_cpus,
        actor_gpus=actor_gpus,
        actor_threads=threads,
    )


def _rows_per_block(batch_size: int) -> int:
    """Choose the rows of a decoded block, which fills batches: some small ones, one, or an even part of a large one."""
    if batch_size <= _DECODED_ROWS:
        return batch_size * math.ceil(_LEAST_DECODED_ROWS / batch_size)
    parts = (rows for rows in range(1, batch_size + 1) if batch_size % rows == 0)
    return min((abs(math.log(rows / _DECODED_ROWS)), rows) for rows in parts)[1]


def minimum_resources(plan: ResourcePlan) -> dict[str, float]:
    """Return the least resources with which a pipeline can run: its actors and one task of each kind at a time."""
    pools = [plan] if plan.second is None else [plan, plan.second]
    actors = [pool.actor_gpus for pool in pools for _ in range(pool.min_actors)]
    needed = {
        "CPU": sum(pool.min_actors * pool.actor_cpus for pool in pools) + READ_CPUS + DECODE_CPUS + WRITE_CPUS,
        "GPU": sum(gpus for gpus in actors if gpus >= 1) + _shared_gpus([gpus for gpus in actors if 0 < gpus < 1]),
    }
    # An actor lies on one node.
    return needed | ({NODE_GPUS: max(actors)} if max(actors) > 1 else {})


def _shared_gpus(parts: Sequence[float]) -> int:
    """Count the GPUs that actors share, each of which lies on one: three actors of 0.6 take three."""
    # Ray counts in ten-thousandths of a GPU.
    free: list[int] = []
    for part in sorted((round(each * 10_000) for each in parts), reverse=True):
        place = next((place for place, room in enumerate(free) if room >= part), None)
        if place is None:
            free.append(10_000 - part)
        else:
            free[place] -= part
    return len(free)


def _actors_on(gpus: float, actor_gpus: float) -> int:
    """Count the actors that fit on GPUs."""
    if actor_gpus >= 1:
        return math.floor(gpus / actor_gpus)
    part, whole = round(actor_gpus * 10_000), math.floor(gpus)
    return whole * (10_000 // part) + round((gpus - whole) * 10_000) // part


def require_resources(needed: Mapping[str, float], cluster: Mapping[str, float], where: str) -> None:
    """Refuse a plan that the cluster could never run.

    Raises:
        RequestError: names every resource that the cluster lacks.
    """
    short = [
        f"{name} {amount:g} needed, {cluster.get(name, 0.0):g} available"
        for name, amount in needed.items()
        if amount > cluster.get(name, 0.0)
    ]
    if short:
        raise RequestError(
            f"{where}: too small for this job: {'; '.join(short)}; use a larger cluster, fewer --num-actors or "
            "--num-gpus, or --wait-for-cluster if it grows by itself"
        )
