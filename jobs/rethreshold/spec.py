"""The options of `vqa-ray tag --rethreshold`."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup


class RethresholdSpec(LoggingGroup):
    """The options of `vqa-ray tag` that go with --rethreshold; see `vqa_ray.jobs.spec.images.TagSpec`."""

    group: ClassVar[str] = "Tags"

    rethreshold: str = option(
        "Decide the tags of this run anew from its scores; with --tags or --calibration, without a model.",
        "",
        unit="RUN",
    )
    output: str = option("Run directory to write.", unit="URI")
    tags: str | None = option("Taxonomy file.", None, unit="FILE")
    calibration: str | None = option("Calibration file that `vqa-ray calibrate` wrote.", None, unit="FILE")
    wait: bool = option("Wait while another process writes to the output.", False, group="Output")
