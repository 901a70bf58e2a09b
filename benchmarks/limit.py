"""The bound on pairs/s: how fast this machine multiplies matrices, and how many operations a pair takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.checkpoints import ViltShape
from benchmarks.timing import synchronise

_BURST_S = 0.15


def matmul_rate(shape: ViltShape, tokens: int, dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """A call that measures FLOP/s: the best of the four products of a layer, over `tokens` tokens at once.

    Args:
        shape: gives the sizes of the products.
        tokens: rows of the left matrix; as many as the engine has in one pass.
        dtype, device: of the matrices.
    """
    width, inner = shape.hidden_size, shape.intermediate_size
    sizes = ((width, 3 * width), (width, width), (width, inner), (inner, width))
    generator = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator).to(device, dtype)

    operands = [(matrix(tokens, inputs), matrix(outputs, inputs)) for inputs, outputs in sizes]

    @torch.inference_mode()
    def best() -> float:
        return max(_rate(left, weight) for left, weight in operands)

    return best


def _rate(left: torch.Tensor, weight: torch.Tensor) -> float:
    """FLOP/s of `left @ weight.T` in bursts: of the fastest, since the bound is what the machine can do."""
    flops = 2 * left.shape[0] * weight.shape[0] * weight.shape[1]
    fastest, until = float("inf"), time.perf_counter() + _BURST_S
    while time.perf_counter() < until:
        synchronise()
        begun = time.perf_counter()
        F.linear(left, weight)
        synchronise()
        fastest = min(fastest, time.perf_counter() - begun)
    return flops / fastest


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attention inside `call`."""
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        call()
    return int(counter.get_total_flops())


def _attention_flops(query: Any, key: Any, value: Any, *_: object, **__: object) -> int:
    """torch counts the attention kernels of CUDA but not that of the CPU."""
    return sdpa_flop_count(query, key, value)
