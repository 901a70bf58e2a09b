"""The log files of workers as JSON lines."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from ray import LoggingConfig, cloudpickle
from ray._common.filters import CoreContextFilter
from ray.job_config import JobConfig

from vqa_ray.json_lines import JsonFormatter

# Workers do not import the pipelines, see `ray_context`.
cloudpickle.register_pickle_by_value(sys.modules[__package__])  # type: ignore[no-untyped-call]


@dataclass
class _WorkerLogs(LoggingConfig):
    """The log lines of a worker, as Ray lets each set them up at its start.

    Attributes:
        run_id: of the run that its driver works on; None without one.
    """

    run_id: str | None = None

    def _apply(self) -> None:
        JsonFormatter.run_id = self.run_id
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        handler.addFilter(CoreContextFilter())
        for logger in (logging.getLogger(), logging.getLogger("ray")):
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(self.log_level)


def workers_log_json() -> JobConfig:
    """Configure a driver that has yet to join Ray: its workers log as it does, with the id of its run."""
    config = JobConfig()
    config.set_py_logging_config(_WorkerLogs(log_level="WARNING", run_id=JsonFormatter.run_id))
    return config
