"""The options of updates of a finished run."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.field import option


class UpdatedSpec(RunSpec):
    """The options of the jobs whose finished runs `--update` brings up to date with their input."""

    group: ClassVar[str] = "Updates"

    update: bool = option(
        "Bring a finished run up to date: answer what is new or changed in the input, mark what is gone.",
        False,
        group="Updates",
        affects_result=False,
    )
    forget: bool = option(
        "With --update: leave out the rows that are gone instead of marking them.", False, affects_result=False
    )
    max_gone: float | None = option(
        "With --update: largest fraction of the rows that may be gone; more stops it. Default: 0.1.",
        None,
        unit="0..1",
        ge=0,
        le=1,
        affects_result=False,
    )

    @model_validator(mode="after")
    def _check_update(self) -> UpdatedSpec:
        for name, given in (("--forget", self.forget), ("--max-gone", self.max_gone is not None)):
            if given and not self.update:
                raise ValueError(f"{name} goes with --update")
        if self.update and self.retry_failed is not None:
            raise ValueError("--update and --retry-failed are two commands: update first, then retry what failed")
        if self.update and self.limit is not None:
            raise ValueError("--update takes in the whole input; a run with --limit is a sample, and stays one")
        return self


class UpdatedTagSpec(UpdatedSpec):
    """The options of the updates of runs of `tag`."""

    taxonomy_changed: bool = option(
        "With --update: the taxonomy or its calibration is another one; every row is asked again.",
        False,
        group="Updates",
        affects_result=False,
    )

    @model_validator(mode="after")
    def _check_taxonomy(self) -> UpdatedTagSpec:
        if self.taxonomy_changed and not self.update:
            raise ValueError("--taxonomy-changed goes with --update")
        return self
