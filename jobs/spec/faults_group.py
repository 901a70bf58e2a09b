"""The options of faults: how long a run waits for a store, and for a row."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import Spec, option


class FaultsGroup(Spec):
    """Faults of stores and of rows."""

    group: ClassVar[str] = "Cluster"

    outage_timeout_s: float = option(
        "Wait so long for a store of images that is down, then end with exit code 4; 0: make error rows.",
        600.0,
        unit="SECONDS",
        ge=0,
        affects_result=False,
    )
    row_timeout_s: float = option(
        "End a process whose row takes longer; that row alone becomes a row_crashed row. 0: no limit.",
        600.0,
        unit="SECONDS",
        ge=0,
        affects_result=False,
    )
