"""SEED-Bench: questions of four options on images and videos, in twelve dimensions."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.evaluation.options import OPTION_COLUMNS
from vqa_ray.evaluation.protocol import Roles
from vqa_ray.evaluation.protocols.multiple_choice import MultipleChoice


class SeedBench(MultipleChoice):
    """The share of right letters; the official script compares letters, text around a letter is read as in MMBench."""

    name = "seed-bench"
    title = "SEED-Bench"
    source = "Li et al., SEED-Bench (2023); AILab-CVC/SEED-Bench eval.py @250947c2"
    truth: ClassVar[Roles] = {"answer": ("truth", "answer", "gt_answer")}
    optional: ClassVar[Roles] = {
        **OPTION_COLUMNS,
        "question_type": ("question_type", "question_type_id", "q_type_id"),
    }
    groups = ("question_type",)
