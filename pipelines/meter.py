"""The meters of a run's endpoints: a small actor that counts for all processes that ask."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext

from vqa_ray.errors import BudgetSpentError, RequestError, one_line
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.runs import ledger
from vqa_ray.types import Usage

logger = logging.getLogger(__name__)

_CONFIG = "vqa_ray_meter"
_EVERY_S = 1.0
# Requests that wait for their turn, over all processes.
_WAITING = 10_000


class MeterActor:
    """The meters of a run's endpoints in a process of its own, which a model that is started again finds as they were.

    Args:
        endpoints: limits and budget of each.
        uri: of the ledger, written every second.
        before: what was taken earlier of each; a shorter list where nothing was.
    """

    def __init__(self, endpoints: Sequence[EndpointOptions], uri: str, before: Sequence[Usage]) -> None:
        self._meters = [each.meter(used) for each, used in itertools.zip_longest(endpoints, before[: len(endpoints)])]
        self._uri, self._written = uri, self._usages()
        self._writing: asyncio.Task[None] | None = None

    async def admit(self, place: int, prompt_tokens: int, answer_tokens: int) -> int | None:
        """See `Gate.admit`, for the endpoint at this place."""
        return await self._meters[place].admit(prompt_tokens, answer_tokens)

    async def settle(self, place: int, number: int, usage: Usage | None) -> None:
        """See `Gate.settle`."""
        await self._meters[place].settle(number, usage)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_later())

    async def pause(self, place: int, seconds: float) -> None:
        """See `Gate.pause`."""
        await self._meters[place].pause(seconds)

    async def refused(self) -> dict[int, Usage]:
        """Return the expected usage of the request for which a budget had no room, by place of the endpoint."""
        return {place: meter.refused for place, meter in enumerate(self._meters) if meter.refused is not None}

    async def close(self) -> list[Usage]:
        """Write the ledger; return what was taken of each endpoint."""
        self._write()
        return self._usages()

    async def _write_later(self) -> None:
        await asyncio.sleep(_EVERY_S)
        self._write()

    def _write(self) -> None:
        usages = self._usages()
        if usages != self._written:
            ledger.write(self._uri, usages)
            self._written = usages

    def _usages(self) -> list[Usage]:
        return [meter.usage for meter in self._meters]


@dataclass(frozen=True)
class SharedMeter:
    """The meter of one of a run's endpoints, seen from any of its processes; implements `Gate`."""

    actor: Any
    place: int

    async def admit(self, prompt_tokens: int, answer_tokens: int) -> int | None:
        """See `Gate.admit`."""
        number: int | None = await _reply(self.actor.admit.remote(self.place, prompt_tokens, answer_tokens))
        return number

    async def settle(self, number: int, usage: Usage | None) -> None:
        """See `Gate.settle`."""
        await _reply(self.actor.settle.remote(self.place, number, usage))

    async def pause(self, seconds: float) -> None:
        """See `Gate.pause`."""
        await _reply(self.actor.pause.remote(self.place, seconds))


@dataclass(frozen=True)
class _Metered:
    """The endpoints of the run under construction, and the actor that counts for them."""

    endpoints: Sequence[EndpointOptions]
    actor: Any

    def is_spent(self) -> bool:
        """Whether the budget of an endpoint had no room for a request."""
        return bool(ray.get(self.actor.refused.remote()))


async def _reply(reference: Any) -> Any:
    try:
        return await reference
    except ray.exceptions.RayError as error:
        raise RequestError("the meter of the endpoint is gone; the same command goes on from here") from error


@contextmanager
def metered(context: DataContext, endpoints: Sequence[EndpointOptions], uri: str) -> Iterator[None]:
    """Let the models of a run, built and executed within the block under `context`, share a meter for each endpoint.

    Args:
        context: of the run.
        endpoints: limits and budget of each; none for a run on models of its own.
        uri: of the ledger, which an earlier process may have begun.

    Raises:
        RequestError: a budget was spent before.
        BudgetSpentError: it was spent before the last row.
    """
    if not endpoints:
        yield
        return
    before = ledger.read(uri)
    for each, used in zip(endpoints, before, strict=False):
        if not each.budget.holds(used, each.budget.priced(Usage(1, 1, 1))):
            raise RequestError(f"the budget is spent: {each.budget.describe(used)}; a larger one goes on with this run")
    actor: Any = ray.remote(MeterActor).options(num_cpus=0, max_concurrency=_WAITING).remote(endpoints, uri, before)
    context.set_config(_CONFIG, _Metered(endpoints, actor))
    refused: dict[int, Usage] = {}
    try:
        yield
        refused = ray.get(actor.refused.remote())
    finally:
        context.remove_config(_CONFIG)
        usages = _closed(actor)
    if refused:
        shares = "; ".join(
            f"{budget.describe(usages[place])} is spent, and a request may take {budget.describe_request(expected)}"
            for place, expected in refused.items()
            for budget in [endpoints[place].budget]
        )
        raise BudgetSpentError(
            f"stopped: the budget has no room for another request: {shares}; what is written stays, and the same "
            "command with a larger budget goes on from there"
        )


def _closed(actor: Any) -> list[Usage]:
    usages: list[Usage] = []
    try:
        usages = ray.get(actor.close.remote())
        ray.kill(actor)
    except ray.exceptions.RayError as error:
        # The run has failed with Ray, and says so.
        logger.warning("what the endpoint took in the last second is not recorded: %s", one_line(error))
    return usages


def shared_model(model: ModelOptions, resources: ResourcePlan) -> ModelOptions:
    """Return the options of a model for one of several actors: a part of the connections, and the meter of the run."""
    run, endpoint = _run(), model.endpoint
    model = model.share(resources.max_actors)
    if run is None or endpoint is None or model.endpoint is None:
        return model
    gate = SharedMeter(run.actor, run.endpoints.index(endpoint))
    return replace(model, endpoint=replace(model.endpoint, gate=gate))


def until_spent(read: Callable[[], Iterable[pa.Table]]) -> Callable[[], Iterable[pa.Table]]:
    """Let a read task end when a budget of the run is spent."""
    run = _run()
    return read if run is None else _ReadUntilSpent(read, run)


@dataclass(frozen=True)
class _ReadUntilSpent:
    read: Callable[[], Iterable[pa.Table]]
    run: _Metered
    # Ray's warnings name a read task by its function.
    __name__ = "read_shard"

    def __call__(self) -> Iterator[pa.Table]:
        for table in self.read():
            if self.run.is_spent():
                return
            yield table


def _run() -> _Metered | None:
    run: _Metered | None = DataContext.get_current().get_config(_CONFIG)
    return run
