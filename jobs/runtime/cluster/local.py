"""Start a Ray of this machine's own, with the processes that a job needs and no others."""

from __future__ import annotations

from typing import Any

import ray
from ray._private import ray_constants, utils
from ray._private.node import Node

from vqa_ray.pipelines.replaced import replaced

# The server of the dashboard, the tailer of log files (`log_to_driver` is off) and the autoscaler of a machine that
# does not grow. Ray waits for the first before it goes on.
_UNUSED = ("start_api_server", "start_log_monitor", "start_monitor")
# Ray counts a missing dependency of the dashboard as a minimal installation, in which its agent loads less.
_MINIMAL = ImportError("the dashboard is not wanted")


def start(**options: Any) -> Any:
    """Start a local Ray, as `ray.init` does, in about two thirds of its time.

    Returns:
        What `ray.init` returns.
    """
    with (
        replaced(Node, **dict.fromkeys(_UNUSED, _skip)),
        replaced(utils, get_dashboard_dependency_error=_dashboard_dependency_error),
        # As on macOS: the node is 127.0.0.1, and its servers, which run what a client sends, listen there alone.
        replaced(ray_constants, ENABLE_RAY_CLUSTER=False),
    ):
        return ray.init(address="local", include_dashboard=False, log_to_driver=False, **options)


def _skip(*_: object, **__: object) -> None:
    """Start nothing."""


def _dashboard_dependency_error() -> ImportError:
    return _MINIMAL
