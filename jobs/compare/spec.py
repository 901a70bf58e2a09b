"""The options of `vqa-ray compare`."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup


class CompareSpec(LoggingGroup):
    """Compare the first of several evaluations, or of several runs, with each of the others.

    Evaluations of the same truth: differences of the measures with 95 % intervals, tests, wins. Runs, without truth:
    how far tags, answers, scores and errors drifted.
    """

    group: ClassVar[str] = "Comparison"

    inputs: list[str] = option(
        "Directories of evaluations, or of finished runs of one job; two or more.", unit="FIRST SECOND", argument=True
    )
    output: str = option("Directory to write.", unit="DIR", group="Output")
    by: list[str] = option(
        "Evaluations: break the mean score down by this one of their columns. Default: by all. Repeatable.",
        [],
        unit="COLUMN",
    )
    max_drift: float | None = option(
        "Runs: exit with code 3 when an attribute, question or the errors drifted by more than this.",
        None,
        unit="0..1",
        ge=0,
        le=1,
    )
    seed: int = option("Seed of the bootstrap and of the simulated noise.", 0, unit="N", ge=0)
    wait: bool = option("Wait while another process writes to the output.", False, group="Output", affects_result=False)
