"""Answers that are kept when an engine refuses a prompt beside them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# Answers that are kept, the last ones.
_MOST = 16_384


class KeptAnswers:
    """Keeps what was answered in a call that fails, for the calls with parts of its prompts that follow.

    A stage halves a batch that fails until the rows to blame stand alone; without their answers, the engine would
    write those of the other rows again at each halving. Calls may come from several threads.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def ask(self, keys: Sequence[Hashable], call: Callable[[Sequence[int]], Sequence[T | BaseException]]) -> list[T]:
        """Return an answer for each key.

        Args:
            keys: say all that decides an answer.
            call: takes the numbers of the keys without an answer, and gives the answer or the error of each.

        Raises:
            BaseException: the first error; the answers beside it are kept.
        """
        with self._lock:
            found = {key: self._kept[key] for key in {*keys} if key in self._kept}
        missing = [number for number, key in enumerate(keys) if key not in found]
        outcomes = dict(zip(missing, call(missing), strict=True)) if missing else {}
        found |= {keys[number]: each for number, each in outcomes.items() if not isinstance(each, BaseException)}
        for outcome in outcomes.values():
            if isinstance(outcome, BaseException):
                with self._lock:
                    self._kept |= found
                    while len(self._kept) > _MOST:
                        del self._kept[next(iter(self._kept))]
                raise outcome
        return [found[key] for key in keys]
