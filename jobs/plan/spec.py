"""The options of `plan`."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.command_line import CommandLine
from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup


class PlanSpec(LoggingGroup):
    """Run a sample of a command; print its rates, its bottleneck, and the time and money of the whole.

    Options of plan stand before JOB. What follows is the command with its own options; its output stays as it is.
    """

    group: ClassVar[str] = "Plan"

    job: CommandLine = option("The command: answer --input … --output … …", unit="JOB…", argument=True)
    sample_s: float = option(
        "Length of the sample, from its first answered rows on; loading the model comes before.",
        60.0,
        unit="SECONDS",
        ge=1,
    )
    sample_rows: int | None = option(
        "Most rows of the sample. Default: 200 from an endpoint, which costs money; else no limit.",
        None,
        unit="ROWS",
        ge=1,
    )
    rows: int | None = option("Rows of the whole. Default: those of the input.", None, unit="ROWS", ge=1)
    deadline_hours: float | None = option(
        "Also print the actors or GPUs that finish in this time.", None, unit="HOURS", gt=0
    )
    price_per_gpu_hour: float | None = option("Price of a GPU for an hour.", None, unit="PRICE", ge=0)
    price_per_cpu_hour: float | None = option("Price of a CPU core for an hour.", None, unit="PRICE", ge=0)
    as_json: bool = option("Print JSON.", False, name="json")
