"""The simulated device itself: what mixes, what waits, what does not fit, as on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.simulated_cuda import SimulatedCuda


@pytest.fixture
def device() -> Iterator[SimulatedCuda]:
    with SimulatedCuda() as simulated:
        yield simulated


def test_without_it_there_is_no_device_again() -> None:
    with SimulatedCuda():
        assert torch.cuda.is_available()
        assert torch.zeros(2, device="cuda").device == torch.device("cuda:0")
    assert not torch.cuda.is_available()
    with torch.inference_mode():
        assert torch.zeros(2).is_inference()


@pytest.mark.parametrize("mix", [lambda a, b: a + b, lambda a, b: a @ b.T, lambda a, b: torch.cat([a, b])])
def test_a_tensor_of_the_host_is_refused(device: SimulatedCuda, mix: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
        mix(torch.ones(2, 2, device="cuda"), torch.ones(2, 2))
    with pytest.raises(TypeError, match="numpy"):
        torch.ones(2, device="cuda").numpy()
    assert (torch.ones(2, device="cuda") + torch.tensor(1.0)).tolist() == [2, 2]


WAITING: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(x.any()),
    "index of a list": lambda x: [1, 2, 3][int(x.argmax())],
    "tolist": lambda x: x.tolist(),
    "to the host": lambda x: x.cpu(),
    "nonzero": lambda x: x.nonzero(),
    "boolean index": lambda x: x[x > 0],
    "unique": lambda x: x.unique(),
    "index of the host": lambda x: x[torch.tensor([0, 1])],
    "a list sent": lambda x: torch.tensor([1, 2], device=x.device),
    "sent without pinning": lambda x: torch.ones(2).to(x.device, non_blocking=True),
    "sent and waited for": lambda x: torch.ones(2).pin_memory().to(x.device),
    "synchronise": lambda x: torch.cuda.synchronize(),
    "event": lambda x: torch.cuda.Event().synchronize(),
}
FLOWING: dict[str, Callable[[Tensor], Any]] = {
    "arithmetic": lambda x: (x * 2 + 1).softmax(dim=-1).cumsum(dim=-1),
    "index of the device": lambda x: x[x.argsort()],
    "filled": lambda x: torch.zeros(3, device=x.device).index_put((x.argsort()[:1],), x[:1]),
    "pinned": lambda x: torch.ones(2).pin_memory().to(x.device, non_blocking=True),
    "made pinned": lambda x: torch.empty(2, pin_memory=True).to(x.device, non_blocking=True),
    "shape": lambda x: x.shape[0] + x.dim() + len(x),
    "range": lambda x: torch.arange(4, device=x.device) + x[0],
}


@pytest.mark.parametrize("name", WAITING)
def test_the_host_waits_once(device: SimulatedCuda, name: str) -> None:
    x = torch.arange(3, device="cuda")
    with device.counting() as waits:
        WAITING[name](x)
    assert sum(waits.values()) == 1, waits


@pytest.mark.parametrize("name", FLOWING)
def test_the_host_does_not_wait(device: SimulatedCuda, name: str) -> None:
    x = torch.arange(3, device="cuda").float()
    with device.counting() as waits:
        FLOWING[name](x)
    assert not waits


def test_memory_ends_and_comes_back() -> None:
    with SimulatedCuda(capacity=1_000) as device:
        first = torch.ones(100, device="cuda")
        assert torch.cuda.mem_get_info() == (600, 1_000)
        view = first[:10]
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            torch.ones(200, device="cuda")
        del first
        assert device.allocated == 400, "a view holds its memory"
        del view
        assert (device.allocated, device.peak) == (0, 400)


def trained(device: str, dtype: torch.dtype) -> list[float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 1)).to(device)
        x, y = torch.randn(16, 4).to(device), torch.randn(16, 1).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    losses = []
    for _ in range(5):
        with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
            found = model(x)
        assert found.dtype == dtype
        loss = (found.float() - y).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_is_that_of_the_host(dtype: torch.dtype) -> None:
    with SimulatedCuda():
        found = trained("cuda", dtype)
    assert found == pytest.approx(trained("cpu", dtype), rel=1e-5 if dtype == torch.float32 else 0.05)
    assert found[-1] < found[0] / 2
