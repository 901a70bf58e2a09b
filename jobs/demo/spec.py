"""The options of `vqa-ray demo`."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup

MODEL, ENCODER = "bundled:catalog-vilt", "bundled:catalog-clip"
_LARGEST_COUNT = 100_000


class DemoSpec(LoggingGroup):
    """Render products, tag them, ask questions of them, measure the answers, and search them."""

    group: ClassVar[str] = "Demo"

    output: str = option("Directory for everything that the demo writes.", "./vqa-ray-demo", unit="DIRECTORY")
    count: int = option("Number of products.", 600, unit="N", ge=1, le=_LARGEST_COUNT)
    seed: int = option("Seed of the catalogue; the bundled models were trained on other seeds.", 7, unit="N", ge=0)
    model: str = option("Model that answers; fake: needs no weights.", MODEL, unit="MODEL")
    encoder: str = option("Dual encoder of the index; fake: needs no weights.", ENCODER, unit="MODEL")
    quiet: bool = option("Print the summary only.", False)
