"""The options of `watch`."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup


class WatchSpec(LoggingGroup):
    """Show the progress of a run as a local web page, from its directory alone. Nothing is written; Ctrl-C ends it.

    The run may be on a cluster and its directory in an object store.
    """

    group: ClassVar[str] = "Page"

    run: str = option("The --output of a run that works, has stopped or is finished.", unit="RUN", argument=True)
    once: bool = option("Print the state and end, without a page.", False)
    host: str = option("Address to listen at; anyone who can reach it sees the page.", "127.0.0.1", unit="ADDRESS")
    port: int = option("Port to listen at; 0 for any free port.", 8767, unit="PORT", ge=0, le=65_535)
    allow_host: list[str] = option(
        "Additional host name under which browsers may open the page. Repeatable.", [], unit="NAME"
    )
