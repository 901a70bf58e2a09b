"""ROUGE-L: the longest common subsequence of words of a caption and its references.

Source: Lin, "ROUGE" (2004), in the form of coco-caption's `rouge.py`: the best precision and the best recall of any
reference, with recall weighted 1.2 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

_BETA2 = 1.2**2


def rouge_l(caption: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return ROUGE-L, 0..1, of the words of a caption against those of its references, at least one."""
    common = [_common_subsequence(caption, reference) for reference in references]
    # The official code splits at spaces, so that an empty text has one empty word.
    precision = max(common) / max(1, len(caption))
    recall = max(length / max(1, len(reference)) for length, reference in zip(common, references, strict=True))
    return (1 + _BETA2) * precision * recall / (recall + _BETA2 * precision) if precision and recall else 0.0


def _common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for at, their in enumerate(other, 1):
            before, row[at] = row[at], before + 1 if word == their else max(row[at], row[at - 1])
    return row[-1]
