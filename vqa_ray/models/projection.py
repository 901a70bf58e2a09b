"""A linear layer whose weights no longer change."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

_OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")


@functools.cache
def _onednn() -> bool:
    """Whether this torch has the oneDNN operators that its own compiler uses for frozen CPU models."""
    available = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)


class Projection:
    """`x @ weight.T + bias`, with what follows it fused in where the device can.

    On a CPU the weights are laid out once as oneDNN multiplies them, instead of at every call: about a tenth of the
    time of a ViLT forward. Elsewhere, and where torch lacks the operators, it is `F.linear`.

    Args:
        weight: (out, in).
        bias: (out,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.packed = weight.device.type == "cpu" and _onednn()
        self.bias = bias.detach()
        dense = weight.detach().contiguous()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(dense) if self.packed else dense

    def __call__(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return self._pointwise(x, "none", "") if self.packed else F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor, approximate: str = "none") -> Tensor:
        """`gelu` of the result: exact (erf), or by `tanh`."""
        if self.packed:
            return self._pointwise(x, "gelu", approximate)
        return F.gelu(F.linear(x, self.weight, self.bias), approximate=approximate)

    def swish(self, x: Tensor) -> Tensor:
        """`y · sigmoid(y)` of the result y."""
        return self._pointwise(x, "swish", "") if self.packed else F.silu(F.linear(x, self.weight, self.bias))

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """The result plus `residual` (…, out)."""
        if not self.packed:
            return residual + F.linear(x, self.weight, self.bias)
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return total

    def _pointwise(self, x: Tensor, operation: str, algorithm: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, operation, [], algorithm)
        return result
