"""What can be asked of `vqa-ray tag --rethreshold`; light, for the command line is made from it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from vqa_ray.jobs.spec.base import option


class RethresholdSpec(BaseModel):
    """The options of `vqa-ray tag` that go with --rethreshold; see `vqa_ray.jobs.spec.images.TagSpec`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rethreshold: str = option(
        "Decide the tags of this finished run anew from its kept scores, with --tags, --calibration or both; no model "
        "runs, and neither --input nor --model is given.",
        "",
        unit="RUN",
    )
    output: str = option("Run directory to write to.", unit="URI")
    tags: str | None = option("Taxonomy file.", None, unit="FILE")
    calibration: str | None = option("What `vqa-ray calibrate` wrote.", None, unit="FILE")
    wait: bool = option("Wait while another process writes to the output.", False)
    quiet: bool = option("Print warnings and errors only.", False)
    log_format: Literal["text", "json"] = option("Form of the messages.", "text")
