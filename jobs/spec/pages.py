"""The specs of the commands that make pages of results: `report` and `review`."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup


class ReportSpec(LoggingGroup):
    """Write one HTML page about a run, an evaluation or a comparison: numbers, plots, tables, image cards.

    The page needs no network and no script.
    """

    group: ClassVar[str] = "Report"

    what: str = option(
        "A run of answer, tag, caption or retrieve, or a directory of evaluate or compare.",
        unit="RESULTS",
        argument=True,
    )
    output: str = option("HTML file to write or replace.", unit="FILE")
    allow_http: bool = option("Also show images at http:// and https:// URIs.", False, group="Input")
