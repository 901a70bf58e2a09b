"""The options of `vqa-ray index`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator

from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.field import option


class IndexSpec(RunSpec):
    """Embed images and keep an index of them up to date: what is new is added, what is gone is removed."""

    group: ClassVar[str] = "Index"

    input: str = option("Where the images are: a file, a directory or a prefix (path, s3://, gs://).", unit="URI")
    output: str = option(
        "Index directory; the same command again brings it up to date.", unit="URI", affects_result=False
    )
    model: str = option("Dual encoder: org/name@revision, a directory or URI, bundled:NAME, or fake:.", unit="MODEL")
    thumbnails: bool = option("Store a small JPEG of each image, for pages of hits.", True, group="Output")
    dedupe: float | None = option(
        "Report groups of images whose likeness is at least this, e.g. 0.97.",
        None,
        unit="0..1",
        gt=0,
        le=1,
        affects_result=False,
    )
    ann: Literal["auto", "always", "never"] = option(
        "Build an approximate index beside the exact search; auto: from 50,000 vectors.", "auto", affects_result=False
    )
    rebuild_ann: bool = option("Build the approximate index anew.", False, affects_result=False)
    allow_empty: bool = option(
        "Accept an input without files, which removes all rows that came from it.",
        False,
        affects_result=False,
    )

    update: bool = option(
        "Always on: an index adds files that its input gained.", True, group="Input", affects_result=False
    )

    @field_validator("update")
    @classmethod
    def _check_update(cls, update: bool) -> bool:
        if not update:
            raise ValueError("an index always takes in what was added to its input; leave the option out")
        return update
