"""MMMU: college questions of thirty subjects, most with lettered options, some open."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation import mmmu_answer
from vqa_ray.evaluation.options import OPTION_COLUMNS, UNSTATED, options_of, right_letter
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.spelled_list import answers_of

MULTIPLE_CHOICE = "multiple-choice"
# Of the official `random.seed`.
SEED = 42
_SHOWN = 200
_DISCIPLINES = {
    "art_and_design": "Art, Art_Theory, Design, Music",
    "business": "Accounting, Economics, Finance, Manage, Marketing",
    "science": "Biology, Chemistry, Geography, Math, Physics",
    "health_and_medicine": (
        "Basic_Medical_Science, Clinical_Medicine, Diagnostics_and_Laboratory_Medicine, Pharmacy, Public_Health"
    ),
    "humanities_and_social_science": "History, Literature, Sociology, Psychology",
    "tech_and_engineering": (
        "Agriculture, Architecture_and_Engineering, Computer_Science, Electronics, Energy_and_Power, Materials, "
        "Mechanical_Engineering"
    ),
}
_DISCIPLINE_OF = {subject: name for name, subjects in _DISCIPLINES.items() for subject in subjects.split(", ")}


class Mmmu(Protocol):
    """The share of right answers, a letter or, to an open question, a text or number among those that the answer names.

    The official parser answers at random where it reads no letter; here the row is unparsed.
    """

    name = "mmmu"
    title = "MMMU"
    source = (
        "Yue et al., MMMU (2023); MMMU-Benchmark/MMMU eval/eval_utils.py @44b45b50, main_parse_and_eval.py @bf380a22"
    )
    truth: ClassVar[Roles] = {"answer": ("truth", "answer", "ground_truth")}
    optional: ClassVar[Roles] = {
        **OPTION_COLUMNS,
        "question_type": ("question_type",),
        "subject": ("subject", "category"),
    }
    groups = ("subject", "question_type")

    def judge(self, prediction: Any, truth: Mapping[str, Any]) -> Judgement:
        options = options_of(truth)
        if truth.get("question_type") == MULTIPLE_CHOICE or (truth.get("question_type") is None and options):
            options = options or UNSTATED
            right = [right_letter(answer, options) for answer in answers_of(truth["answer"])]
            letter = mmmu_answer.choice(prediction, options) or self.unread(options)
            return Judgement(float(letter in right), letter, right[0])
        answers = answers_of(truth["answer"])
        if not all(answer.strip() for answer in answers):
            raise ValueError("the answer to an open question is empty; every text contains it")
        reading = mmmu_answer.open_reading(prediction)
        shown = "; ".join(sorted({str(each).strip() for each in reading} - {""}))
        score = float(mmmu_answer.is_open_answer_right(reading, answers))
        return Judgement(score, shown[:_SHOWN] or None, "; ".join(answers))

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return self.judge("", truth)

    def unread(self, options: Mapping[str, str]) -> str | None:
        """Return what a row without a letter is read as: nothing."""
        del options
        return None

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        """See `Protocol.parts`: the official disciplines, where the truth has the subjects."""
        subjects, codes = rows.codes("subject")
        disciplines = np.array([_DISCIPLINE_OF.get(name, "") for (name,) in subjects])[codes]
        return {name: disciplines == name for name in _DISCIPLINES if name in disciplines}


class MmmuOfficialRandom(Mmmu):
    """MMMU with the official random letters, to show that the number is the official one to the last digit.

    The letters depend on the order in which rows are judged: subjects by alphabet, each as published.
    """

    name = "mmmu-official-random"
    title = "MMMU (official, with random letters)"
    in_order = True

    def __init__(self) -> None:
        self._random = random.Random(SEED)

    def fit(self, truths: Iterable[Mapping[str, Any]]) -> None:
        """Begin the random letters anew."""
        del truths
        self._random.seed(SEED)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        """See `Protocol.judge_absent`; no letter is drawn."""
        return Mmmu().judge_absent(truth)

    def notes(self, rows: JudgedRows) -> list[str]:
        del rows
        return [f"Where no letter could be read it was drawn with seed {SEED}, as in the official script."]

    def unread(self, options: Mapping[str, str]) -> str | None:
        """Draw the next letter as the official parser does."""
        return self._random.choice(list(options))
