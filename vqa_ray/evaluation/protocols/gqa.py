"""GQA: one true answer, compared as it is."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.truth_values import one_text

_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Gqa(Protocol):
    """Accuracy in percent, also of yes/no and choice questions (binary) and of the others (open).

    The official script compares the strings as they are, of the balanced questions. Its consistency, validity,
    plausibility and distribution need files that only the validation split has.
    """

    name = "gqa"
    title = "GQA accuracy"
    source = "Hudson and Manning 2019; eval.py of GQA: equal strings"
    truth: ClassVar[Roles] = {"answer": ("truth", "answer")}
    optional: ClassVar[Roles] = {
        "structural": ("structural_type", "structural"),
        "semantic": ("semantic_type", "semantic"),
    }
    groups = ("structural", "semantic")
    scale = 100.0

    def read(self, answer: str) -> str:
        """Return the form in which an answer is compared."""
        return answer

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        answer = one_text(truth["answer"], "true answer")
        given = self.read(prediction)
        return Judgement(float(given == self.read(answer)), given, answer)

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        kinds, codes = rows.codes("structural")
        parts = {"binary": [kind not in ("", "query") for (kind,) in kinds], "open": [k == "query" for (k,) in kinds]}
        return {name: np.array(chosen)[codes] for name, chosen in parts.items()}


class GqaLlava(Gqa):
    """GQA after the conversion that LLaVA and its successors are published with: lower case, no final full stop."""

    name = "gqa-llava"
    title = "GQA accuracy (LLaVA's conversion)"
    source = "Liu et al. 2023; convert_gqa_for_eval.py of haotian-liu/LLaVA before eval.py of GQA"

    def read(self, answer: str) -> str:
        return answer.rstrip(".").lower()


class GqaLmmsEval(Gqa):
    """GQA as lmms-eval scores it: without regard to case and ASCII punctuation."""

    name = "gqa-lmms-eval"
    title = "GQA accuracy (lmms-eval)"
    source = "exact_match of lmms-eval with ignore_case and ignore_punctuation"

    def read(self, answer: str) -> str:
        return answer.lower().translate(_PUNCTUATION)
