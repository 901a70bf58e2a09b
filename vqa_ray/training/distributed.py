"""Several processes that train one network: gloo between CPUs, NCCL between GPUs, nothing in a single process.

The process group is made by whoever starts the processes; here it is only used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def world() -> tuple[int, int]:
    """(rank, number of ranks) of this process; (0, 1) when it trains alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def replicate(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module whose backward averages gradients over the ranks; all ranks start from the weights of rank 0.

    Raises:
        RuntimeError: of torch, when the ranks' modules differ in their parameters.
    """
    if world()[1] == 1:
        return module
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True)


def exchanging(module: nn.Module, exchange: bool) -> contextlib.AbstractContextManager[object]:
    """Whether gradients of a pass are exchanged while it goes backward, or kept on this rank for a later one."""
    if exchange or not isinstance(module, DistributedDataParallel):
        return contextlib.nullcontext()
    return module.no_sync()


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of every rank's values, in place."""
    if world()[1] > 1:
        dist.all_reduce(values)
    return values


def gathered_rows(values: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows (N, …) of every rank, one after the other in order of rank, on every rank; no gradient goes back.

    Args:
        values: (N, …), the rows of this worker.
        counts: rows of each rank; this one has `values` of them.
    """
    if len(counts) == 1:
        return values
    padded = values.new_zeros(max(counts), *values.shape[1:])
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def gathered(value: T) -> list[T]:
    """Every rank's value, in order of rank, on every rank."""
    ranks = world()[1]
    if ranks == 1:
        return [value]
    values: list[T | None] = [None] * ranks
    dist.all_gather_object(values, value)
    return [found for found in values if found is not None]
