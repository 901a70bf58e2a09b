"""MMBench: questions of up to four options, plain and by CircularEval, which rotates them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.options import OPTION_COLUMNS
from vqa_ray.evaluation.protocol import JudgedRows, Roles
from vqa_ray.evaluation.protocols.multiple_choice import MultipleChoice

# A rotation has the index of its question plus a multiple of this.
ROTATION = 1_000_000
_LONGEST_INDEX = 18
_SOURCE = (
    "Liu et al., MMBench (2023); open-compass/VLMEvalKit vlmeval/dataset/utils/multiple_choice.py @028a6e77 under its "
    "policy exact_matching"
)


class MMBench(MultipleChoice):
    """The share of right letters over all rows."""

    name = "mmbench"
    title = "MMBench"
    source = _SOURCE
    optional: ClassVar[Roles] = {
        **OPTION_COLUMNS,
        "category": ("category",),
        "l2_category": ("l2-category", "l2_category"),
    }
    groups = ("category", "l2_category")


class MMBenchCircular(MultipleChoice):
    """The share of questions that are answered rightly in every rotation of their options."""

    name = "mmbench-circular"
    title = "MMBench (CircularEval)"
    source = _SOURCE
    truth: ClassVar[Roles] = {
        "answer": ("truth", "answer"),
        "index": ("index", "question_id"),
    }
    optional = MMBench.optional
    groups = ("index", "category", "l2_category")
    units = ("index",)
    headline = "circular_accuracy"

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        """See `Protocol.measures`: also the accuracy of all rows, and of the rows that are not rotated.

        A question counts as often as its rows do on average.
        """
        question, unrotated = rows.kept("rotations", lambda: _rotations(rows))
        size = np.bincount(question)
        weights = np.bincount(question, weight) / size
        hits = np.bincount(question, rows.score) == size
        first = super().measures(rows, weight * unrotated)["accuracy"]
        return {
            "circular_accuracy": float(weights @ hits / weights.sum()) if weights.any() else float("nan"),
            "first_pass_accuracy": first,
            **super().measures(rows, weight),
        }

    def support(self, rows: JudgedRows, measure: str) -> npt.NDArray[np.bool_]:
        """See `Protocol.support`."""
        return np.ones(len(rows), bool)

    def notes(self, rows: JudgedRows) -> list[str]:
        """See `Protocol.notes`: questions in one order of their options, which CircularEval cannot test."""
        if alone := int((np.bincount(_rotations(rows)[0]) == 1).sum()):
            return [f"{alone} questions have one order of their options; CircularEval wants every rotation."]
        return []


def _rotations(rows: JudgedRows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return intp (N,), the number of each row's question, and bool (N,), whether its options are as published."""
    indices, codes = rows.codes("index")
    parts = [question_and_rotation(index) for (index,) in indices]
    numbers: dict[str, int] = {}
    questions = np.array([numbers.setdefault(question, len(numbers)) for question, _ in parts], np.intp)
    return questions[codes], np.array([rotation == 0 for _, rotation in parts], bool)[codes]


def question_and_rotation(index: str) -> tuple[str, int]:
    """Return the question and the number of its rotation, 0 for the options as published.

    "3000241" is rotation 3 of question "241"; an index that is no number stands for a question of its own.
    """
    if not index.isdecimal() or len(index) > _LONGEST_INDEX:
        return index, 0
    rotation, question = divmod(int(index), ROTATION)
    return str(question), rotation
