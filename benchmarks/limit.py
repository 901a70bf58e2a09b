"""The bound on pairs/s: how fast this machine multiplies matrices, and how many operations a pair takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.timing import synchronise
from vqa_ray.training.vqa.shape import ViltShape

_BURST_S = 0.15


def matmul_rate(shape: ViltShape, tokens: int, dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """Return a call that measures FLOP/s: the best of the four products of a layer, over `tokens` tokens at once.

    On a CPU also with weights laid out for oneDNN beforehand, where torch has that: it is faster by a tenth.

    Args:
        shape: gives the sizes of the products.
        tokens: rows of the left matrix; as many as the engine has in one pass.
        dtype: of the matrices.
        device: of the matrices.
    """
    width, inner = shape.hidden_size, shape.intermediate_size
    sizes = ((width, 3 * width), (width, width), (width, inner), (inner, width))
    generator = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator).to(device, dtype)

    products: list[tuple[int, Callable[[], object]]] = []
    for inputs, outputs in sizes:
        left, weight = matrix(tokens, inputs), matrix(outputs, inputs)
        flops = 2 * tokens * inputs * outputs
        products += [(flops, product) for product in _products(left, weight)]

    @torch.inference_mode()
    def best() -> float:
        return max(flops / _fastest(product) for flops, product in products)

    return best


def _products(left: torch.Tensor, weight: torch.Tensor) -> list[Callable[[], object]]:
    """Ways to compute `left @ weight.T`."""
    ways: list[Callable[[], object]] = [partial(F.linear, left, weight)]
    onednn = torch.ops.mkldnn
    if left.device.type == "cpu" and hasattr(onednn, "_linear_pointwise"):
        packed = onednn._reorder_linear_weight(weight)
        ways.append(partial(onednn._linear_pointwise, left, packed, None, "none", [], ""))
    return ways


def _fastest(product: Callable[[], object]) -> float:
    """Seconds of the fastest of a burst, since the bound is what the machine can do."""
    fastest, until = float("inf"), time.perf_counter() + _BURST_S
    while time.perf_counter() < until:
        synchronise()
        begun = time.perf_counter()
        product()
        synchronise()
        fastest = min(fastest, time.perf_counter() - begun)
    return fastest


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attention inside `call`."""
    uncounted: dict[Any, Any] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        uncounted[torch.ops.mkldnn._linear_pointwise] = _linear_flops
    with FlopCounterMode(display=False, custom_mapping=uncounted) as counter:
        call()
    return int(counter.get_total_flops())


def _attention_flops(query: Any, key: Any, value: Any, *_: object, **__: object) -> int:
    """torch counts the attention kernels of CUDA but not that of the CPU."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _linear_flops(x: Sequence[int], *_: object, out_shape: Sequence[int], **__: object) -> int:
    """Nor does it count oneDNN's linear layers with packed weights."""
    return 2 * math.prod(out_shape) * x[-1]
