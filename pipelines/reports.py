"""Counts of a run under way: sent by its actors, read by its driver, through the key-value store of Ray's head."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

from vqa_ray.images.outage import DELIVERED, OUTAGES, Outage, OutagePolicy
from vqa_ray.pipelines import key_value
from vqa_ray.pipelines.stage_metrics import StageMetrics
from vqa_ray.stages.row_report import ReturnedRows, RowReport
from vqa_ray.stages.size_report import ImageSizes, SizeReport

_CONFIG, _LABELS = "vqa_ray_reports", "vqa_ray_labels"
_SIZES = "sizes-"


class StopOnRequest(ExecutionCallback):
    """Ends an execution of Ray Data with an error that another thread sets."""

    error: Exception | None = None

    def on_execution_step(self, executor: object) -> None:
        """Raise the error, if there is one; called by Ray Data after each step of its scheduler."""
        if StopOnRequest.error is not None:
            raise StopOnRequest.error


def report_under(context: DataContext, prefix: str, labels: Mapping[str, str]) -> None:
    """Let the model actors that start under `context` report their rows under `prefix`, and as metrics with labels."""
    context.set_config(_CONFIG, prefix)
    context.set_config(_LABELS, dict(labels))


def row_report() -> RowReport | None:
    """Return the report for a model actor of the pipeline under construction; None where no run announced one."""
    context = DataContext.get_current()
    prefix = context.get_config(_CONFIG)
    if prefix is None:
        return None
    return RowReport(key_value.put, prefix, StageMetrics(context.get_config(_LABELS)))


def size_report(actor: str) -> SizeReport | None:
    """Return the report of image sizes for the model actors of a class; see `row_report`."""
    prefix = DataContext.get_current().get_config(_CONFIG)
    return None if prefix is None else SizeReport(key_value.put, _sizes(prefix, actor))


def image_sizes(prefix: str, actor: str) -> ImageSizes:
    """Add up the reports of image sizes of all actors of a class in a run."""
    return reduce(add, map(ImageSizes.from_json, key_value.values(_sizes(prefix, actor))), ImageSizes())


def _sizes(prefix: str, actor: str) -> str:
    return f"{_SIZES}{prefix}-{actor}-"


def returned_rows(prefix: str) -> ReturnedRows:
    """Add up the reports of all actors of a run."""
    return reduce(add, map(ReturnedRows.from_json, key_value.values(prefix)), ReturnedRows())


def delete_reports(prefix: str) -> None:
    """Remove the reports of a run."""
    for each in ("", _SIZES, DELIVERED, OUTAGES):
        key_value.delete(f"{each}{prefix}")


class SharedBoard:
    """The board of a run, in the key-value store of Ray's head; implements `vqa_ray.images.outage.Board`."""

    def get(self, key: str) -> bytes | None:
        """Return what is under a key."""
        return key_value.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Replace what is under a key."""
        key_value.put(key, value)


def outage_policy(timeout_s: float, run_id: str) -> OutagePolicy:
    """Return the policy for the pipeline under construction, shared by its processes where a run announced one."""
    prefix = DataContext.get_current().get_config(_CONFIG)
    return OutagePolicy(timeout_s, run_id) if prefix is None else OutagePolicy(timeout_s, prefix, SharedBoard())


def outages(prefix: str) -> list[Outage]:
    """List the outages that processes of a run have met, those that are over included."""
    return [Outage.from_json(data) for data in key_value.values(f"{OUTAGES}{prefix}")]
