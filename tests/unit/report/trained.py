"""A training that was made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vqa_ray.report.training_summary import Confusion, Skipped, Trained, TrainingData
from vqa_ray.training.log import StepRecord, TrainingLog, ValidationRecord

MARKUP = "<script>alert('x')</script>\"'&</title><img src=x onerror=alert(1)>"


def log(steps: int = 40, every: int = 10, kind: str = "yes/no") -> TrainingLog:
    """Loss falls as 40 / step; after each `every` steps a validation, each better than the last."""
    made = TrainingLog()
    for step in range(1, steps + 1):
        made.add_step(StepRecord(step, (step - 1) // every, 40 / step, 1e-3 / step, 16, 0.5, 1.0))
        if step % every == 0:
            accuracy = step / (steps + 10)
            kinds = {kind: accuracy, "number": accuracy / 2}
            made.add_validation(
                ValidationRecord(step, step // every - 1, 1.5, accuracy, 300, kinds, {kind: 200, "number": 100})
            )
    return made


def trained(text: str = "plain", **given: Any) -> Trained:
    """A training with `text` in every place that takes words."""
    return replace(
        Trained(
            name=text,
            start=text,
            finished="2026-11-21T05:40:00Z",
            command=["vqa-ray", "finetune", "--input", text],
            recipe={text: text, "epochs": 4},
            versions={text: text},
            data=TrainingData(text, 1_000, 41, 500, text, 300, (Skipped(text, text, 1_234),)),
            log=log(kind=text),
            duration_s=125.0,
            hardware=text,
            parameters=2_110_313,
            confusion=Confusion(("yes", text, "no"), np.array([[90, 10, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])),
            notes=(text,),
            tags=(text,),
        ),
        **given,
    )
