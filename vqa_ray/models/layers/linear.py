"""Linear layers as a CPU multiplies them fastest: with weights that no longer change, and with weights in training."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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


class FrozenLinear:
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
        """Return the result plus `residual` (…, out)."""
        if not self.packed:
            return residual + F.linear(x, self.weight, self.bias)
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return total

    def _pointwise(self, x: Tensor, operation: str, algorithm: str) -> Tensor:
        return _pointwise(x, self.weight, self.bias, operation, algorithm)


class FrozenLinearModule(nn.Module):
    """A `FrozenLinear` where the code of a model expects an `nn.Linear`.

    Args:
        linear: is left as it is.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._projection = FrozenLinear(linear.weight, linear.bias)

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
                setattr(module, name, FrozenLinearModule(child))


def trained_linear(linear: nn.Module, x: Tensor) -> Tensor:
    """`linear(x)`, differentiable, by the faster products where there are any.

    On a CPU in float32 torch multiplies with its BLAS, which oneDNN outdoes by a tenth or more forward and for the
    gradient of x. Whatever derives from `nn.Linear` or wraps it is simply called.

    Args:
        linear: the layer.
        x: (…, in).

    Returns:
        (…, out).
    """
    if type(linear) is not nn.Linear:
        result: Tensor = linear(x)
        return result
    return differentiable_product(x, linear.weight, linear.bias)


def differentiable_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` for `trained_linear`: x (…, in), weight (out, in), bias (out,) or None."""
    lowered = torch.is_autocast_enabled(x.device.type)
    if lowered or x.dtype != torch.float32 or not _packs(weight):
        return F.linear(x, weight, bias)
    product: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return product


class _Product(torch.autograd.Function):
    """`F.linear` through oneDNN, but for the gradient of the weight, which BLAS multiplies as fast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _pointwise(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        gradient = gradient.contiguous()
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            _pointwise(gradient, weight.t(), None) if of_x else None,
            rows.t() @ x.reshape(-1, x.shape[-1]) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, operation: str = "none", algorithm: str = "") -> Tensor:
    """oneDNN's product of x (…, in) with a weight (out, in), plain or laid out, and what follows it."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, operation, [], algorithm)
    return product
