"""Frozen linear layers: the numbers of the layers that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vqa_ray.models import projection
from vqa_ray.models.projection import FrozenLinear, freeze_linears


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
        found, wanted = FrozenLinear(linear)(x), linear(x)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    torch.testing.assert_close(found, wanted)


def test_it_tells_dtype_device_and_shape() -> None:
    weight = FrozenLinear(nn.Linear(6, 9, dtype=torch.bfloat16)).weight
    assert (weight.dtype, weight.device.type, tuple(weight.shape)) == (torch.bfloat16, "cpu", (9, 6))


def test_a_model_gives_the_same() -> None:
    model, ids = Model().eval(), torch.tensor([[3, 1, 4, 1]])
    with torch.inference_mode():
        wanted = model(ids)
        freeze_linears(model)
        found = model(ids)
    torch.testing.assert_close(found, wanted)
    assert [type(layer) for layer in model.layers] == [FrozenLinear, nn.GELU, FrozenLinear]


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
    assert isinstance(FrozenLinear(nn.Linear(6, 9))(torch.randn(2, 6)), torch.Tensor)
