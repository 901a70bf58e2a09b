"""Several photos of one product."""

from __future__ import annotations

from typing import ClassVar, Literal

from vqa_ray.jobs.spec.field import Spec, option


class GroupingGroup(Spec):
    """Rows of the photos of one product, combined."""

    group: ClassVar[str] = "Output"

    group_by: str | None = option(
        "Also combine the rows with one value of this column, such as sku, into a row of _groups.pq.",
        None,
        unit="COLUMN",
        min_length=1,
        omit_default_from_fingerprint=True,
    )
    combine: Literal["any", "all", "max", "mean", "vote", "together"] | None = option(
        "How --group-by combines: yes of any or all, max or mean score, vote, or together. Default: vote.",
        None,
        affects_result=False,
    )

    @property
    def is_together(self) -> bool:
        """Whether the photos of a product are asked about together."""
        return self.combine == "together"
