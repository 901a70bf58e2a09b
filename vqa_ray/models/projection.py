"""Linear layers whose weights no longer change."""

from __future__ import annotations

import functools
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")


@functools.cache
def _onednn() -> bool:
    """Whether this torch has the oneDNN operators that its own compiler uses for frozen CPU models."""
    available = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)


def _packs(weight: Tensor) -> bool:
    """Whether weights are laid out anew: on a CPU, where oneDNN multiplies in their dtype."""
    if weight.device.type != "cpu" or not _onednn():
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


class Projection:
    """`x @ weight.T + bias`, with what follows it fused in where the device can.

    On a CPU the weights are laid out once as oneDNN multiplies them, instead of at every call: about a tenth of the
    time of a ViLT forward. Elsewhere, and where torch lacks the operators, it is `F.linear`.

    Args:
        weight: (out, in).
        bias: (out,), or None for none.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.packed = _packs(weight)
        self.bias = None if bias is None else bias.detach()
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


class FrozenLinear(nn.Module):
    """A `Projection` where the code of a model expects an `nn.Linear`.

    Args:
        linear: is left as it is.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._projection = Projection(linear.weight, linear.bias)

    @property
    def weight(self) -> Tensor:
        """(out, in): to be asked for its dtype, device and shape, not to be computed with."""
        return self._projection.weight

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return self._projection(x)


def freeze_linears(model: nn.Module) -> None:
    """Put `FrozenLinear` in the place of a model's linear layers on a CPU; their old weights are given up one by one.

    Left alone are weights that several modules share, which would be held twice, and whatever derives from
    `nn.Linear`, because it does something else. The model can then neither be trained nor saved.
    """
    owners = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and owners[id(child.weight)] == 1 and _packs(child.weight):
                setattr(module, name, FrozenLinear(child))
