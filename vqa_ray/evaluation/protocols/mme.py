"""MME: pairs of yes/no questions on an image, in ten tasks of perception and four of cognition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.counted import counted
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles

PERCEPTION = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
TASKS = (*PERCEPTION, *COGNITION)
_NUMBERS = {task.lower(): number for number, task in enumerate(TASKS)}
# The official script looks for yes and no within so many characters.
_PREFIX = 4
_PAIR = 2


class Mme(Protocol):
    """The score of a task: 100 × the share of right answers + 100 × the share of images with both answers right.

    Perception is the sum of its ten tasks, cognition of its four.
    """

    name = "mme"
    title = "MME"
    source = (
        "Fu et al., MME (2023); BradyFU/Awesome-Multimodal-Large-Language-Models tools/eval_tool.zip, calculation.py "
        "@1c1d69e1"
    )
    truth: ClassVar[Roles] = {
        "answer": ("truth", "answer"),
        "category": ("category", "task"),
        "image": ("image_id", "image", "image_uri"),
    }
    groups = ("category", "image")
    units = ("image",)
    headline = "perception"

    def judge(self, prediction: Any, truth: Mapping[str, Any]) -> Judgement:
        right = str(truth["answer"]).strip().lower()
        if right not in ("yes", "no"):
            raise ValueError(f"the answer is yes or no, {right[:60]!r} given")
        task = str(truth["category"])
        if task.lower() not in _NUMBERS:
            raise ValueError(f"{task[:60]!r} is no task of MME; they are {', '.join(TASKS)}")
        said = yes_or_no(prediction)
        return Judgement(float(said == right), said, right)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return self.judge("", truth)

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        """See `Protocol.measures`: perception, cognition, and the score of each task that occurs."""
        task, pair, pair_task, size = rows.kept("pairs", lambda: _pairs(rows))
        pair_weight = np.bincount(pair, weight) / size
        both = np.bincount(pair, rows.score) == size
        with np.errstate(invalid="ignore"):
            right = _sums(task, weight * rows.score) / _sums(task, weight)
            plus = _sums(pair_task, pair_weight * both) / _sums(pair_task, pair_weight)
        scores = {name: 100 * float(right[number] + plus[number]) for number, name in enumerate(TASKS)}
        accuracy = float(weight @ rows.score / weight.sum()) if weight.any() else float("nan")
        return {
            "perception": _total(scores, PERCEPTION),
            "cognition": _total(scores, COGNITION),
            "accuracy": accuracy,
            **{name: scores[name] for name in rows.kept("parts", lambda: self.parts(rows)) if name in scores},
        }

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        """See `Protocol.parts`: perception, cognition and the tasks."""
        task = rows.kept("pairs", lambda: _pairs(rows))[0]
        found = {name: task == number for number, name in enumerate(TASKS)}
        found |= {"perception": task < len(PERCEPTION), "cognition": task >= len(PERCEPTION)}
        return {name: within for name, within in found.items() if within.any()}

    def notes(self, rows: JudgedRows) -> list[str]:
        """See `Protocol.notes`: images of another number of questions than the two that make a pair."""
        _, pair = rows.codes("category", "image")
        if odd := int((np.bincount(pair) != _PAIR).sum()):
            have = "has" if odd == 1 else "have"
            return [
                f"{counted(odd, 'image')} {have} another number of questions than 2; all of them have to be right for "
                "the pair."
            ]
        return []


def yes_or_no(text: str) -> str | None:
    """Read yes or no within the first four characters, "yes" first: "Yes, …", "no.", also "not" and "eyes"."""
    prefix = text[:_PREFIX].lower()[:_PREFIX]
    return "yes" if "yes" in prefix else "no" if "no" in prefix else None


def _pairs(rows: JudgedRows) -> tuple[npt.NDArray[np.intp], ...]:
    """Return intp (N,), the task and the pair of each row, and intp (pairs,), the task and the rows of each pair."""
    categories, codes = rows.codes("category")
    task = np.array([_NUMBERS[name.lower()] for (name,) in categories], np.intp)[codes]
    _, pair = rows.codes("category", "image")
    pair_task = np.zeros(int(pair.max()) + 1, np.intp)
    pair_task[pair] = task
    return task, pair, pair_task, np.bincount(pair)


def _sums(tasks: npt.NDArray[np.intp], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.bincount(tasks, values, len(TASKS)).astype(np.float64)


def _total(scores: Mapping[str, float], tasks: tuple[str, ...]) -> float:
    found = [scores[task] for task in tasks if scores[task] == scores[task]]
    return sum(found) if found else float("nan")
