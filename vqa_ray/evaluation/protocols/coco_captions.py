"""Captions: CIDEr-D, BLEU-1 to BLEU-4 and ROUGE-L, as coco-caption computes them on words of our own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.bleu import BleuCounts, bleu, bleu_counts
from vqa_ray.evaluation.caption_words import caption_words
from vqa_ray.evaluation.cider import BEST, DocumentFrequencies, cider
from vqa_ray.evaluation.ngrams import MAX_N
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.rouge import rouge_l
from vqa_ray.evaluation.truth_values import texts

_NS = range(1, MAX_N + 1)


class Captions(Protocol):
    """CIDEr-D, 0..10, and BLEU and ROUGE-L, 0..1, of captions against the references of their images.

    The formulas are those of coco-caption; its tokenizer is a Java program, for which `caption_words` stands. METEOR
    and SPICE are left out: both are Java programs with large models. Document frequencies are those of all references
    in the truth.
    """

    name = "caption"
    title = "CIDEr-D, BLEU, ROUGE-L (coco-caption's formulas, own tokenizer)"
    source = "Vedantam et al. 2015, Papineni et al. 2002, Lin 2004; tylin/coco-caption at 274cef6"
    truth: ClassVar[Roles] = {"captions": ("captions", "references", "caption", "truth")}
    headline = "cider"
    means = frozenset({"cider"})
    scale = BEST

    def __init__(self) -> None:
        self._frequencies = DocumentFrequencies()

    def fit(self, truths: Iterable[Mapping[str, Any]]) -> None:
        """Count in how many images each n-gram occurs."""
        self._frequencies = DocumentFrequencies()
        for truth in truths:
            with contextlib.suppress(ValueError):  # `judge` counts it
                self._frequencies.add(_references(truth))

    def judge(self, prediction: str, truth: Mapping[str, Any]) -> Judgement:
        return self._judged(prediction, truth)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return self._judged(None, truth)

    def _judged(self, prediction: str | None, truth: Mapping[str, Any]) -> Judgement:
        words, references = caption_words(prediction or ""), _references(truth)
        counts = bleu_counts(words, references)
        extra = {
            "rouge_l": rouge_l(words, references),
            "length": counts.length,
            "reference_length": counts.reference_length,
        }
        extra |= {f"matched_{n}": counts.matched[n - 1] for n in _NS} | {f"given_{n}": counts.given[n - 1] for n in _NS}
        score = cider(words, references, self._frequencies) / BEST
        read_as = None if prediction is None else " ".join(words)
        return Judgement(min(1.0, score), read_as, texts(truth["captions"], "reference captions")[0], extra)

    def measures(self, rows: JudgedRows, weight: npt.NDArray[np.float64]) -> dict[str, float]:
        total = float(weight.sum())
        if not total:
            return dict.fromkeys(("cider", "rouge_l", *(f"bleu_{n}" for n in _NS)), float("nan"))
        added = {name: float(column @ weight) for name, column in rows.extra.items()}
        matched, given = (tuple(added[f"{kind}_{n}"] for n in _NS) for kind in ("matched", "given"))
        scores = bleu(BleuCounts(matched, given, added["length"], added["reference_length"]))
        return {
            "cider": BEST * float(rows.score @ weight) / total,
            "rouge_l": added["rouge_l"] / total,
            **{f"bleu_{n}": value for n, value in zip(_NS, scores, strict=True)},
        }

    def notes(self, rows: JudgedRows) -> list[str]:
        found = [
            "words are split by rules of our own, not by coco-caption's PTBTokenizer; METEOR needs Java and is left out"
        ]
        if self._frequencies.images == 1:
            found.append("CIDEr-D is 0 for a single image, whose n-grams are all as frequent as can be")
        return found


def _references(truth: Mapping[str, Any]) -> list[list[str]]:
    return [caption_words(each) for each in texts(truth["captions"], "reference captions")]
