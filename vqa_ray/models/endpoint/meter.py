"""The meter of an endpoint: lets requests through within limits and budget, and counts what they took."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.rate_limit import RateLimit, Ticket
from vqa_ray.types import Usage

# Between two looks whether a request under way has ended.
_LOOK_S = 0.02
# A request that has not ended this long after its time-out was sent by a process that died.
_LOST_AFTER_S = 30.0


class Gate(Protocol):
    """What a client needs of a meter, which may stand in another process."""

    async def admit(self, prompt_tokens: int, answer_tokens: int) -> int | None:
        """Wait until a request may go; its number, or None once the budget has no room for it."""
        ...

    async def settle(self, number: int, usage: Usage | None) -> None:
        """End a request: with the tokens it took, or None where it brought no answer."""
        ...

    async def pause(self, seconds: float) -> None:
        """Let nothing through for a while, as the server wishes."""
        ...


@dataclass(frozen=True, slots=True)
class _UnderWay:
    ticket: Ticket
    expected: Usage
    estimate: int
    until: float


class Meter:
    """Counts the requests of all processes that ask an endpoint. One event loop uses it.

    A request goes if it fits, with all that are under way, into the budget at its expected tokens; it waits where one
    under way may still take less. Once none fits, none goes any more. As long as no answer has shown what images take,
    requests under a limit of tokens or a budget go one at a time.

    Args:
        limit: of requests and tokens per minute.
        budget: prices, and the most that all requests may take.
        timeout_s: of a request.
        before: what was taken earlier.
    """

    def __init__(
        self,
        limit: RateLimit,
        budget: Budget,
        timeout_s: float,
        before: Usage | None = None,
    ) -> None:
        self.usage = before or Usage()
        # The expected usage of the request for which there was no room.
        self.refused: Usage | None = None
        self._budget, self._timeout_s = budget, timeout_s
        self._limit = limit
        self._is_careful = limit.counts_tokens or budget.is_limited
        # The number by which expected tokens were too few at most.
        self._more_tokens = 0
        self._under_way: dict[int, _UnderWay] = {}
        # How many requests were let through.
        self.admitted = 0
        self._turn = asyncio.Lock()

    async def admit(self, prompt_tokens: int, answer_tokens: int) -> int | None:
        """See `Gate.admit`."""
        async with self._turn:
            while True:
                expected = self._budget.priced(Usage(1, prompt_tokens + self._more_tokens, answer_tokens))
                self._forget_lost()
                if self.refused is not None:
                    return None
                is_alone = not self._is_careful or not self._under_way
                fits = self._budget.holds(
                    sum((each.expected for each in self._under_way.values()), self.usage), expected
                )
                if fits and is_alone:
                    break
                if not self._under_way:
                    self.refused = expected
                    return None
                await asyncio.sleep(_LOOK_S)
            ticket = await self._limit.acquire(expected.prompt_tokens + expected.completion_tokens)
            number = self.admitted
            self.admitted += 1
            until = time.monotonic() + self._timeout_s + _LOST_AFTER_S
            self._under_way[number] = _UnderWay(ticket, expected, prompt_tokens + answer_tokens, until)
            return number

    async def settle(self, number: int, usage: Usage | None) -> None:
        """See `Gate.settle`."""
        under_way = self._under_way.pop(number, None)
        if usage is None:
            if under_way is not None:
                self._limit.settle(under_way.ticket, None)
            return
        self.usage += self._budget.priced(usage)
        self._is_careful = False
        if under_way is not None:
            used = usage.prompt_tokens + usage.completion_tokens
            self._limit.settle(under_way.ticket, used)
            self._more_tokens = max(self._more_tokens, used - under_way.estimate)

    async def pause(self, seconds: float) -> None:
        """See `Gate.pause`."""
        self._limit.pause(seconds)

    def _forget_lost(self) -> None:
        now = time.monotonic()
        for number in [number for number, each in self._under_way.items() if each.until < now]:
            del self._under_way[number]
