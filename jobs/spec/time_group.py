"""The option of the time that a command may take."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import Spec, option


class TimeGroup(Spec):
    """The time that a command may take."""

    group: ClassVar[str] = "Cluster"

    max_hours: float | None = option(
        "Read no more rows after this time, write those that are read, and end; the same command goes on.",
        None,
        unit="HOURS",
        gt=0,
        affects_result=False,
    )
