"""How often training processes have died, over the controllers of Ray Train that one command starts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback

from vqa_ray.pipelines import key_value


class TrainingFailures(UserCallback):
    """Counts the deaths that Ray Train starts its group again for.

    A controller counts them for itself; one that follows another counts from the beginning. The controller calls this
    in its own process, and the driver reads the count.
    """

    def __init__(self) -> None:
        self._prefix = f"training-failures-{uuid.uuid4().hex}-"

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Count one death, of however many processes; nodes that are taken away have a count of their own in Ray."""
        if not any(map(_is_taken_away, worker_exceptions.values())):
            key_value.put(f"{self._prefix}{uuid.uuid4().hex}", b"1")

    def count(self) -> int:
        """Return the count."""
        return sum(1 for _ in key_value.values(self._prefix))

    def forget(self) -> None:
        """Remove the count."""
        key_value.delete(self._prefix)


def _is_taken_away(error: Exception) -> bool:
    """Whether a process has died with a node that its cloud took; Ray Train wraps the death of a process."""
    death = getattr(error, "health_check_failure", error)
    return isinstance(death, RayActorError) and death.preempted
