"""The specs that jobs on Ray are made of: strict models of their options, composed of groups of fields.

A spec comes from a YAML file, from options, or from both (options win). Each field carries its line of help, its unit
and whether it affects the result; where it does not (placement, logging), it may change between a run and its
resumption.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator

from vqa_ray.jobs.spec.document_group import DocumentGroup
from vqa_ray.jobs.spec.faults_group import FaultsGroup
from vqa_ray.jobs.spec.field import extra_of, option
from vqa_ray.jobs.spec.groups import ClusterGroup, DeviceGroup, InputGroup, LoggingGroup, ModelGroup, OutputGroup
from vqa_ray.jobs.spec.lineage_group import LineageGroup
from vqa_ray.jobs.spec.retry_codes import Retry
from vqa_ray.jobs.spec.time_group import TimeGroup


def _range(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_range(value: str) -> str:
    found = re.fullmatch(r"([1-9][0-9]*)(?:-([1-9][0-9]*))?", value)
    if found is None:
        raise ValueError("wanted a number or a range such as 2-8")
    if found[2] is not None and int(found[1]) > int(found[2]):
        raise ValueError("the smaller number comes first in a range")
    return value


Workers = Annotated[str, BeforeValidator(_range), AfterValidator(_check_range)]


def bounds(workers: str) -> tuple[int, int]:
    """(min, max) of `Workers`."""
    low, _, high = workers.partition("-")
    return int(low), int(high or low)


class JobSpec(LoggingGroup, FaultsGroup, ClusterGroup, OutputGroup, ModelGroup, InputGroup):
    """The options of every job on Ray."""

    def command(self) -> dict[str, Any]:
        """Dump the fields that affect the result, as a run records them."""
        names = set()
        for name, field in type(self).model_fields.items():
            extra = extra_of(field)
            is_omitted = extra["omit_default"] and getattr(self, name) == field.default
            if extra["affects_result"] and not is_omitted:
                names.add(name)
        return self.model_dump(mode="json", include=names)


class RunSpec(DeviceGroup, TimeGroup, LineageGroup, DocumentGroup, JobSpec):
    """The options of the jobs that write a row per image."""

    keep: list[str] = option(
        "Copy this column of the input, or of its directories (split=test), to the output. Repeatable.",
        [],
        unit="[NEW=]COLUMN",
        group="Output",
    )
    rows_per_file: int | None = option(
        "Rows per output file; a kill loses at most the unfinished files. Default: chosen from the input.",
        None,
        unit="ROWS",
        group="Output",
        ge=1,
        affects_result=False,
    )
    gallery: str | None = option(
        "HTML page of images and their results, written at the end.",
        None,
        unit="FILE",
        group="Output",
        affects_result=False,
    )
    update: bool = option(
        "Add files that the input gained since the run began.",
        False,
        group="Input",
        affects_result=False,
    )
    retry_failed: str | None = option(
        "Answer failed rows again, all or only those with these error codes.",
        None,
        unit="[CODE,…]",
        group="Output",
        affects_result=False,
    )
    batch_size: int | None = option(
        "Rows per model call. Default: 32 on CPUs, 256 on GPUs.",
        None,
        unit="ROWS",
        group="Cluster",
        ge=1,
        affects_result=False,
    )
    num_actors: Workers | None = option(
        "Processes that hold the model: 4, or 1-8 to scale with the work. Default: as many as fit.",
        None,
        unit="N|MIN-MAX",
        group="Cluster",
        affects_result=False,
    )
    compile: bool = option(
        "Compile the model (CUDA only): slower to start, faster to run.", False, group="Model", affects_result=False
    )

    @model_validator(mode="after")
    def _check_codes(self) -> RunSpec:
        if self.retry_failed is not None:
            Retry.parse(self.retry_failed)
        return self

    @property
    def retry(self) -> Retry | None:
        """The failed rows to answer again; None for a run."""
        return None if self.retry_failed is None else Retry.parse(self.retry_failed)

    def actors(self) -> tuple[int, int] | None:
        """(min, max) of `num_actors`."""
        return None if self.num_actors is None else bounds(self.num_actors)
