"""ScienceQA: questions of two to five options, with or without text and an image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.options import OPTION_COLUMNS
from vqa_ray.evaluation.protocol import JudgedRows, Roles
from vqa_ray.evaluation.protocols.multiple_choice import MultipleChoice

_OFFICIAL = re.compile(r"The answer is ([A-Z]).")
_AT_THE_END = re.compile(r"The answer is ([A-E])")
_FIRST = re.compile(r"([A-E])\. ")
# The official breakdown: measure → role of the group, and its values.
_PARTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "natural_science": ("subject", frozenset({"natural science"})),
    "social_science": ("subject", frozenset({"social science"})),
    "language_science": ("subject", frozenset({"language science"})),
    "text_context": ("has_text", frozenset({"true"})),
    "image_context": ("has_image", frozenset({"true"})),
    "grades_1_6": ("grade", frozenset(f"grade{number}" for number in range(1, 7))),
    "grades_7_12": ("grade", frozenset(f"grade{number}" for number in range(7, 13))),
}


class ScienceQa(MultipleChoice):
    """The percentage of right letters.

    An answer says "The answer is B." once; where it nowhere does, it is a letter or begins with "B. ". The official
    script replaces any other answer by a random option; here it is unparsed.
    """

    name = "scienceqa"
    title = "ScienceQA"
    source = (
        "Lu et al., Learn to explain (2022); lupantech/ScienceQA models/run_gpt3.py, tools/evaluate_acc.py @360b71cb; "
        "bare letters as in haotian-liu/LLaVA llava/eval/eval_science_qa.py @5200b756"
    )
    optional: ClassVar[Roles] = {
        **OPTION_COLUMNS,
        "subject": ("subject",),
        "grade": ("grade",),
        "has_text": ("has_text",),
        "has_image": ("has_image",),
    }
    groups = ("subject", "grade", "has_text", "has_image")
    # All of them are parts.
    units = groups
    scale = 100.0

    def read(self, text: str, options: Mapping[str, str]) -> str | None:
        found = _OFFICIAL.findall(text)
        if not found:
            flat = text.replace("\n", ". ")
            if flat.strip() in options:
                return flat.strip()
            last = _FIRST.match(flat) or _AT_THE_END.search(flat)
            found = [last[1]] if last else []
        return found[0] if len(found) == 1 and found[0] in options else None

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        """See `Protocol.parts`: subjects, contexts and grades, where the truth has the columns."""
        found = {name: _is_among(rows, role, values) for name, (role, values) in _PARTS.items()}
        if any(value for role in ("has_text", "has_image") for (value,) in rows.codes(role)[0]):
            found["no_context"] = ~(found["text_context"] | found["image_context"])
        return {name: within for name, within in found.items() if within.any()}


def _is_among(rows: JudgedRows, role: str, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
    values, codes = rows.codes(role)
    hits: npt.NDArray[np.bool_] = np.array([value.lower() in wanted for (value,) in values], bool)[codes]
    return hits
