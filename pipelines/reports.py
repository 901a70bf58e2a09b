"""Row counts of a run under way, from its actors to its driver, through the key-value store of Ray's head."""

from __future__ import annotations

from functools import partial, reduce
from operator import add

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put

from vqa_ray.stages.row_report import Answered, RowReport

_NAMESPACE = "vqa-ray"
_CONFIG = "vqa_ray_reports"


class StopOnRequest(ExecutionCallback):
    """Ends an execution of Ray Data with an error, from another thread."""

    error: Exception | None = None

    def on_execution_step(self, executor: object) -> None:
        """Called by Ray Data after each turn of its scheduler."""
        if StopOnRequest.error is not None:
            raise StopOnRequest.error


def announce(context: DataContext, prefix: str) -> None:
    """Let the model actors that are made under `context` report their rows under `prefix`."""
    context.set_config(_CONFIG, prefix)


def row_report() -> RowReport | None:
    """What a model actor of the pipeline being built reports to; None where nobody asks."""
    prefix = DataContext.get_current().get_config(_CONFIG)
    return None if prefix is None else RowReport(partial(_internal_kv_put, namespace=_NAMESPACE), prefix)


def answered(prefix: str) -> Answered:
    """What all actors of a run have reported by now."""
    keys = _internal_kv_list(prefix, namespace=_NAMESPACE)
    found = (_internal_kv_get(key, namespace=_NAMESPACE) for key in keys)
    return reduce(add, (Answered.from_json(data) for data in found if data), Answered())


def forget(prefix: str) -> None:
    """Remove the reports of a run."""
    _internal_kv_del(prefix, del_by_prefix=True, namespace=_NAMESPACE)
