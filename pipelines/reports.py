"""Row counts of a run under way: sent by its actors, read by its driver, through the key-value store of Ray's head."""

from __future__ import annotations

from functools import partial, reduce
from operator import add

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put

from vqa_ray.stages.row_report import ReturnedRows, RowReport

_NAMESPACE = "vqa-ray"
_CONFIG = "vqa_ray_reports"


class StopOnRequest(ExecutionCallback):
    """Ends an execution of Ray Data with an error that another thread sets."""

    error: Exception | None = None

    def on_execution_step(self, executor: object) -> None:
        """Raise the error, if there is one; called by Ray Data after each step of its scheduler."""
        if StopOnRequest.error is not None:
            raise StopOnRequest.error


def report_under(context: DataContext, prefix: str) -> None:
    """Let the model actors that start under `context` report their rows under `prefix`."""
    context.set_config(_CONFIG, prefix)


def row_report() -> RowReport | None:
    """Return the report for a model actor of the pipeline under construction; None where no run announced one."""
    prefix = DataContext.get_current().get_config(_CONFIG)
    return None if prefix is None else RowReport(partial(_internal_kv_put, namespace=_NAMESPACE), prefix)


def returned_rows(prefix: str) -> ReturnedRows:
    """Add up the reports of all actors of a run."""
    keys = _internal_kv_list(prefix, namespace=_NAMESPACE)
    found = (_internal_kv_get(key, namespace=_NAMESPACE) for key in keys)
    return reduce(add, (ReturnedRows.from_json(data) for data in found if data), ReturnedRows())


def delete_reports(prefix: str) -> None:
    """Remove the reports of a run."""
    _internal_kv_del(prefix, del_by_prefix=True, namespace=_NAMESPACE)
