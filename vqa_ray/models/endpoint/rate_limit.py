"""Limits of requests and tokens per minute, kept in every window of 10 seconds and of a minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# A request reaches the server so long after it was let through, or before its answer is here, whichever comes first.
_ON_ITS_WAY_S = 2.0
_WINDOWS_S = (10.0, 60.0)


@dataclass(slots=True)
class Ticket:
    """A request that was let through.

    Attributes:
        at: when.
        tokens: its tokens: expected, then counted.
        arrived: when it had reached the server, at the latest.
    """

    at: float
    tokens: int
    arrived: float


@dataclass(slots=True)
class _Window:
    seconds: float
    requests: float
    tokens: float
    recent: deque[Ticket] = field(default_factory=deque)
    used: int = 0

    def delay(self, now: float, tokens: int) -> float:
        """Return the seconds until the window may have room; 0 where it has. An empty one has room for any request."""
        while self.recent and now - self.recent[0].arrived >= self.seconds:
            self.used -= self.recent.popleft().tokens
        if not self.recent or (len(self.recent) + 1 <= self.requests and self.used + tokens <= self.tokens):
            return 0.0
        return self.recent[0].arrived + self.seconds - now


class RateLimit:
    """Lets requests through, in their order, as limits allow. One event loop uses it.

    Args:
        requests: per minute; None for no limit.
        tokens: per minute; None for no limit.
        clock: seconds.
        sleep: waits.
        asked: requests made shortly before, which the windows of now may hold.
    """

    def __init__(
        self,
        requests: int | None,
        tokens: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        asked: int = 0,
    ) -> None:
        self.counts_tokens = tokens is not None
        self._clock, self._sleep = clock, sleep
        unlimited = float("inf")
        self._windows = [
            _Window(
                seconds,
                unlimited if requests is None else requests * seconds / 60,
                unlimited if tokens is None else tokens * seconds / 60,
            )
            for seconds in _WINDOWS_S
            if requests is not None or tokens is not None
        ]
        now = clock()
        for window in self._windows:
            window.recent.extend(Ticket(now, 0, now) for _ in range(asked))
        self._turn = asyncio.Lock()
        self._paused_until = 0.0

    async def acquire(self, tokens: int) -> Ticket:
        """Wait until a request of so many tokens may go."""
        async with self._turn:
            while (delay := self._delay(tokens)) > 0:
                await self._sleep(delay)
            now = self._clock()
            ticket = Ticket(now, tokens, now + _ON_ITS_WAY_S)
            for window in self._windows:
                window.recent.append(ticket)
                window.used += tokens
            return ticket

    def settle(self, ticket: Ticket, tokens: int | None) -> None:
        """End a request: replace its expected tokens by those that the server counted, if it did."""
        ticket.arrived = min(ticket.arrived, self._clock())
        if tokens is None:
            return
        for window in self._windows:
            if window.recent and window.recent[0].at <= ticket.at:
                window.used += tokens - ticket.tokens
        ticket.tokens = tokens

    def pause(self, seconds: float) -> None:
        """Let nothing through for a while, as the server wishes."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _delay(self, tokens: int) -> float:
        now = self._clock()
        return max(self._paused_until - now, *(window.delay(now, tokens) for window in self._windows), 0.0)
