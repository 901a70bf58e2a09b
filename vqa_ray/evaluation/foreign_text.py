"""Answers beyond ASCII: counted, since the official rules are made for English and compare code points.

None of the protocols changes Unicode forms: "é" as one code point and as "e" with an accent are two texts, as they are
in the official scripts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

_ASCII = {"beyond_ascii": 0.0, "other_form": 0.0}


def foreign_numbers(answer: str, true_answers: Sequence[str]) -> dict[str, float]:
    """Return whether a text is beyond ASCII, and whether the answer equals a true one only in Unicode's NFKC form."""
    if answer.isascii() and "".join(true_answers).isascii():
        return _ASCII
    same = answer not in true_answers and _form(answer) in map(_form, true_answers)
    return {"beyond_ascii": 1.0, "other_form": float(same)}


def foreign_notes(extra: Mapping[str, npt.NDArray[np.float64]]) -> list[str]:
    """Return the sentences about the rows of `foreign_numbers`; none where all of them are ASCII."""
    count, other = (int(extra[name].sum()) if name in extra else 0 for name in _ASCII)
    if not count:
        return []
    found = (
        f"{count} of {len(extra['beyond_ascii'])} rows have texts beyond ASCII; the rules for articles, numbers and "
    )
    found += "contractions are English"
    return [f"{found}; {other} differ from a true answer in Unicode form (NFKC) or case alone" if other else found]


def _form(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()
