"""The option of lineage events."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import Spec, option


class LineageGroup(Spec):
    """Events of OpenLineage."""

    group: ClassVar[str] = "Logging"

    openlineage: str | None = option(
        "Send OpenLineage events to this http(s) server, or append them to a file. Default: OPENLINEAGE_URL.",
        None,
        unit="URL|FILE",
        affects_result=False,
    )
