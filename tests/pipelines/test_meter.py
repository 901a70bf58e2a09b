"""The meters of a run's endpoints: each has its place, and a process that goes on knows what was taken."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.pipelines.meter import MeterActor
from vqa_ray.runs import ledger
from vqa_ray.types import Usage

ENDPOINTS = [
    EndpointOptions("http://127.0.0.1:1/v1", budget=Budget(max_total_tokens=100)),
    EndpointOptions("http://127.0.0.1:2/v1", budget=Budget(max_total_tokens=1_000)),
]


async def ask(meters: MeterActor, place: int, tokens: int) -> bool:
    """Whether the budget of an endpoint has room for a request, which then takes as much as it may."""
    number = await meters.admit(place, tokens, 10)
    if number is None:
        return False
    await meters.settle(place, number, Usage(1, tokens, 10))
    return True


def test_a_budget_holds_for_one_endpoint_and_over_processes(tmp_path: Path) -> None:
    uri = str(tmp_path / "usage.json")

    async def first() -> None:
        meters = MeterActor(ENDPOINTS, uri, [])
        assert await ask(meters, 0, 50)
        assert await ask(meters, 1, 50)
        assert await meters.refused() == {}
        assert await meters.close() == ledger.read(uri)

    async def later() -> None:
        # An older version knew one endpoint.
        meters = MeterActor(ENDPOINTS, uri, ledger.read(uri)[:1])
        assert not await ask(meters, 0, 50)
        assert await ask(meters, 1, 500)
        assert list(await meters.refused()) == [0]
        await meters.close()

    asyncio.run(first())
    assert [(each.requests, each.prompt_tokens) for each in ledger.read(uri)] == [(1, 50), (1, 50)]
    asyncio.run(later())
    assert [(each.requests, each.prompt_tokens) for each in ledger.read(uri)] == [(1, 50), (1, 500)]
