"""Where the parts of a training run: numbers only, no Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vqa_ray.pipelines.resources import DECODE_CPUS, READ_CPUS, ResourcePlan, ResourceRequest, plan_resources

_SMALL_MACHINE_CPUS = 8
_THREADS_ON_LARGE_MACHINE = 4
# Several workers each need their rows of a step about when the others have theirs: so many blocks per worker and step.
_BLOCKS_PER_SHARE = 2
# A single worker takes rows as they come: so many steps per block, where images are small.
_STEPS_PER_BLOCK = 4
_MIN_BLOCK_BYTES = 64 * 2**10
# What flows is encoded first and raw pixels later, which are smaller where the model's images are small.
_ENCODED_BYTES = 100_000
_BLOCKS_BUFFERED = 6
_MIN_BUFFER_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True)
class TrainingResourcePlan:
    """Where training runs.

    Attributes:
        workers: (min, max) training processes; Ray restarts them with as many as the cluster has room for.
        cpus, gpus: of each.
        threads: CPU threads of each; None leaves them alone (GPU).
        rows: how the rows flow to them.
        no_progress_timeout_s: seconds without any block moved until the run fails.
    """

    workers: tuple[int, int]
    cpus: float
    gpus: float
    threads: int | None
    rows: ResourcePlan
    no_progress_timeout_s: float


@dataclass(frozen=True, slots=True)
class TrainingResourceRequest:
    """The wishes of the user.

    Attributes:
        workers: (min, max) training processes.
        gpus_per_worker: None where the cluster decides.
        batch_size: rows per step over all workers.
        image_bytes: of one image at the model's size, raw.
        no_progress_timeout_s: see `TrainingResourcePlan`.
    """

    workers: tuple[int, int]
    gpus_per_worker: float | None
    batch_size: int
    image_bytes: int
    no_progress_timeout_s: float


def plan_training_resources(
    cpus: float, gpus: float, request: TrainingResourceRequest, cores: int | None = None
) -> TrainingResourcePlan:
    """Decide where the parts of a training run on a cluster.

    Args:
        cpus: logical CPUs of the cluster.
        gpus: GPUs of the cluster.
        request: what the user wants.
        cores: CPU cores of the machine where logical CPUs do not tell (a local Ray); None: as many as `cpus`.
    """
    low, high = request.workers
    worker_gpus = request.gpus_per_worker if request.gpus_per_worker is not None else float(gpus > 0)
    cores = cores or int(cpus)
    if worker_gpus:
        worker_cpus, threads = 1.0, None
    elif cores <= _SMALL_MACHINE_CPUS:
        worker_cpus, threads = 1.0, max(1, cores // high)
    else:
        threads = max(1, min(_THREADS_ON_LARGE_MACHINE, cores // high))
        worker_cpus = float(threads)
    if high == 1:
        share = request.batch_size * _STEPS_PER_BLOCK
    else:
        share = max(1, request.batch_size // (high * _BLOCKS_PER_SHARE))
    rows = plan_resources(cpus, 0.0, ResourceRequest(batch_size=min(share, 256)), cores)
    block_bytes = min(rows.block_bytes, max(_MIN_BLOCK_BYTES, share * request.image_bytes))
    held_bytes = _BLOCKS_BUFFERED * min(share, 256) * max(request.image_bytes, _ENCODED_BYTES)
    flow = replace(
        rows,
        rows_per_block=max(8, min(share, 256)),
        block_bytes=block_bytes,
        buffer_bytes=max(_MIN_BUFFER_BYTES, min(rows.buffer_bytes, held_bytes)),
    )
    return TrainingResourcePlan((low, high), worker_cpus, worker_gpus, threads, flow, request.no_progress_timeout_s)


def minimum_training_resources(plan: TrainingResourcePlan) -> dict[str, float]:
    """Return what must be free at the same time: the fewest workers, and one task that reads and one that decodes."""
    workers = plan.workers[0]
    return {"CPU": workers * plan.cpus + READ_CPUS + DECODE_CPUS, "GPU": workers * plan.gpus}
