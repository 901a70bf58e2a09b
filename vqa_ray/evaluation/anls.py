"""ANLS: how near an answer is to the nearest true one, by the edit distance of their characters.

Source: Biten et al., "Scene Text Visual Question Answering" (2019), equation 1; the numbers of shunk031/ANLS. The
script of the Robust Reading Competition (DocVQA, InfographicVQA), which lmms-eval and VLMEvalKit follow, differs in two
places.
"""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.evaluation.edit_distance import edit_distance

THRESHOLD = 0.5


def anls(answer: str, true_answers: Sequence[str], threshold: float = THRESHOLD) -> float:
    """Return 1 - NL for the nearest true answer, or 0 where its distance NL, 0..1, is not below the threshold.

    Case and the kind and number of white spaces do not count.

    Args:
        answer: of the model.
        true_answers: at least one.
        threshold: 0..1.
    """
    nearest = min(_distance(answer, each, raw_lengths=False) for each in true_answers)
    return 1 - nearest if nearest < threshold else 0.0


def anls_rrc(answer: str, true_answers: Sequence[str], threshold: float = THRESHOLD) -> float:
    """Return the ANLS of the Robust Reading Competition's script.

    A similarity of exactly the threshold counts, and lengths are those of the texts before white space is collapsed.

    Args:
        answer: of the model.
        true_answers: at least one.
        threshold: 0..1.
    """
    similarity = 1 - min(_distance(answer, each, raw_lengths=True) for each in true_answers)
    return similarity if similarity >= threshold else 0.0


def _distance(one: str, other: str, *, raw_lengths: bool) -> float:
    plain = " ".join(one.lower().split()), " ".join(other.lower().split())
    # The script takes the lengths in capitals, of which "ß" has two.
    longest = max(len(one.upper()), len(other.upper())) if raw_lengths else max(map(len, plain))
    return edit_distance(*plain) / longest if longest else 0.0
