"""AI2D: questions of four options on diagrams of science."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.evaluation.options import OPTION_COLUMNS
from vqa_ray.evaluation.protocol import Roles
from vqa_ray.evaluation.protocols.multiple_choice import MultipleChoice


class Ai2d(MultipleChoice):
    """The share of right letters."""

    name = "ai2d"
    title = "AI2D"
    source = (
        "Kembhavi et al., A diagram is worth a dozen images (2016); letters are read as VLMEvalKit's can_infer reads "
        "them (vlmeval/utils/matching_util.py), without its language model"
    )
    optional: ClassVar[Roles] = {**OPTION_COLUMNS, "category": ("category",)}
    groups = ("category",)
