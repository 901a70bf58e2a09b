"""Linear layers made fast: the numbers, and the gradients, of the layers that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from vqa_ray.models.layers import linear as projection
from vqa_ray.models.layers.linear import FrozenLinearModule, freeze_linears, trained_linear


class Model(nn.Module):
    """A model whose output layer shares the weights of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.layers = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6, bias=False))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.layers(self.embed(ids))
        return self.head(x + self.attention(x, x, x)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6,), (0, 6), (1, 6), (2, 3, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_layer_gives_the_same(dtype: torch.dtype, shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(6, 9, bias=bias).to(dtype)
    x = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        found, wanted = FrozenLinearModule(linear)(x), linear(x)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    torch.testing.assert_close(found, wanted)


def test_it_tells_dtype_device_and_shape() -> None:
    weight = FrozenLinearModule(nn.Linear(6, 9, dtype=torch.bfloat16)).weight
    assert (weight.dtype, weight.device.type, tuple(weight.shape)) == (torch.bfloat16, "cpu", (9, 6))


def test_a_model_gives_the_same() -> None:
    model, ids = Model().eval(), torch.tensor([[3, 1, 4, 1]])
    with torch.inference_mode():
        wanted = model(ids)
        freeze_linears(model)
        found = model(ids)
    torch.testing.assert_close(found, wanted)
    assert [type(layer) for layer in model.layers] == [FrozenLinearModule, nn.GELU, FrozenLinearModule]


def test_shared_weights_and_other_kinds_of_layer_are_left_alone() -> None:
    model = Model()
    out = model.attention.out_proj
    freeze_linears(model)
    assert model.head.weight is model.embed.weight
    assert model.attention.out_proj is out


def test_a_device_without_the_operators_keeps_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_onednn", lambda: False)
    model = Model()
    freeze_linears(model)
    assert type(model.layers[0]) is nn.Linear
    assert isinstance(FrozenLinearModule(nn.Linear(6, 9))(torch.randn(2, 6)), torch.Tensor)


def gradients(x: torch.Tensor, linear: nn.Linear, multiply: Callable[[nn.Linear, torch.Tensor], torch.Tensor]) -> Any:
    """The product and the gradients of all that is trained, through a result that is read sideways."""
    trained = [tensor for tensor in (x, *linear.parameters()) if tensor.requires_grad]
    product = multiply(linear, x)
    return product, torch.autograd.grad((product.transpose(0, -1) ** 2).sum(), trained)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6,), (0, 6), (1, 6), (70, 6), (2, 3, 6)])
@pytest.mark.parametrize("trained", ["all", "input", "weights"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_in_training_learns_the_same(
    dtype: torch.dtype, shape: tuple[int, ...], trained: str, bias: bool
) -> None:
    linear = nn.Linear(6, 9, bias=bias, dtype=dtype).requires_grad_(trained != "input")
    x = torch.randn(shape, dtype=dtype, requires_grad=trained != "weights")
    found, wanted = gradients(x, linear, trained_linear), gradients(x, linear, nn.Linear.__call__)
    torch.testing.assert_close(found, wanted)


def test_autocast_still_decides_what_is_computed_in() -> None:
    linear, x = nn.Linear(6, 9), torch.randn(4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert trained_linear(linear, x).dtype == torch.bfloat16


def test_a_layer_that_does_more_is_called() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    linear, x = Doubled(6, 9), torch.randn(4, 6)
    torch.testing.assert_close(trained_linear(linear, x), 2 * nn.functional.linear(x, linear.weight, linear.bias))


def test_training_goes_through_the_faster_products(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    plain = projection._pointwise
    monkeypatch.setattr(
        projection,
        "_pointwise",
        lambda x, weight, bias: asked.append(tuple(weight.shape)) or plain(x, weight, bias),
    )
    gradients(torch.randn(4, 6, requires_grad=True), nn.Linear(6, 9), trained_linear)
    assert asked == [(9, 6), (6, 9)]
