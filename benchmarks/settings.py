"""What every benchmark is given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Attributes:
        quick: a few small inputs and a tiny model: shows that the benchmark runs, its figures mean nothing.
        scratch: an empty directory of this benchmark's own, removed afterwards.
    """

    quick: bool
    scratch: Path

    def pick(self, full: int, quick: int) -> int:
        """Return a size of the measurement."""
        return quick if self.quick else full


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
