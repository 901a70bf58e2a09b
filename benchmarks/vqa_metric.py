"""VQA accuracy: answers judged a second on one core, beside the official script's loop."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.evaluation.protocol import JudgedRows
from vqa_ray.evaluation.registry import protocol
from vqa_ray.text import ARTICLES, CONTRACTIONS, NUMBER_WORDS, PUNCTUATION, normalise

_ANSWERS, _VOCABULARY = 20_000, 6_000
_WORDS = "red dog two man's t-shirt no the left side 1,000 dont frisbee. tennis court white/black 3 U.S."
_GROUPED, _PERIOD = re.compile(r"(\d)(,)(\d)"), re.compile(r"\.(?!\d)")

Case = Mapping[str, Any]


def measure(settings: Settings) -> Measured:
    """Answers a second of `--protocol vqa-v2`, judged and averaged, and of the official rule written plainly."""
    count = settings.pick(_ANSWERS, 200)
    cases = synthetic_cases(count)
    assert round(ours(cases), 2) == round(official(cases), 2)
    contestants = {"ours": seconds(lambda: ours(cases)), "official": seconds(lambda: official(cases))}
    times = by_turns(contestants, settings.pick(5, 1))
    return Measured(
        [
            figure(
                "VQA accuracy, answers judged a second on one core",
                rates(count, times["ours"]),
                "answers/s",
                at_least=20_000,
            ),
            figure("the same, by the official script's loop", rates(count, times["official"]), "answers/s"),
            figure("ours over the official loop", ratios(times["official"], times["ours"]), "×", at_least=5.0),
        ],
        [
            f"{count:,} questions with 10 answers of people each, from {_VOCABULARY:,} texts as frequent as words are "
            "(Zipf); a tenth of the answers occur once. Judged one by one and averaged; nothing is read or written.",
            "Ours remembers normalised texts, and begins each round without any. The official loop is the rule of "
            "vqaEval.py in Python 3, without its progress bar. Both give the same accuracy.",
        ],
    )


def synthetic_cases(count: int) -> list[Case]:
    """Make questions on which people agree about as often as on VQAv2, with an answer each."""
    draw = random.Random(0)
    words = _WORDS.split()
    texts = ["yes", "no", *(" ".join(draw.choices(words, k=draw.randint(1, 3))) for _ in range(_VOCABULARY))]
    weights = [1 / rank for rank in range(1, len(texts) + 1)]
    cases = []
    for number in range(count):
        few = [*draw.choices(texts, weights, k=2), f"{draw.choice(words)} {number}"]
        answers = draw.choices(few, (7, 2, 1), k=10)
        cases.append({"answers": answers, "answer": draw.choice(few)})
    return cases


def ours(cases: Sequence[Case]) -> float:
    """Return the accuracy in percent."""
    normalise.cache_clear()
    made = protocol("vqa-v2")
    judged = [made.judge(case["answer"], case) for case in cases]
    empty = np.empty(len(cases), object)
    extra = {"annotators": np.array([each.extra["annotators"] for each in judged], float)}
    score = np.array([each.score for each in judged])
    rows = JudgedRows(score, np.full(len(cases), "judged"), empty, empty, {}, extra)
    return made.measures(rows, np.ones(len(cases)))["accuracy"]


def official(cases: Sequence[Case]) -> float:
    """Return the accuracy in percent by the steps of the official script, one after the other."""
    by_question = {
        number: [{"answer": text, "answer_id": at} for at, text in enumerate(case["answers"], 1)]
        for number, case in enumerate(cases)
    }
    accuracies = []
    by_type: defaultdict[str, list[float]] = defaultdict(list)
    for number, case in enumerate(cases):
        truth = by_question[number]
        for each in truth:
            each["answer"] = _stripped(each["answer"])
        given = _stripped(case["answer"])
        if len({each["answer"] for each in truth}) > 1:
            for each in truth:
                each["answer"] = _digits_and_articles(_punctuation(each["answer"]))
            given = _digits_and_articles(_punctuation(given))
        per_annotator = []
        for left_out in truth:
            others = [each for each in truth if each != left_out]
            agreeing = [each for each in others if each["answer"] == given]
            per_annotator.append(min(1, float(len(agreeing)) / 3))
        accuracies.append(float(sum(per_annotator)) / len(per_annotator))
        by_type["other"].append(accuracies[-1])
    return 100 * float(sum(accuracies)) / len(accuracies)


def _stripped(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _punctuation(text: str) -> str:
    result = text
    for mark in PUNCTUATION:
        if (mark + " " in text or " " + mark in text) or _GROUPED.search(text) is not None:
            result = result.replace(mark, "")
        else:
            result = result.replace(mark, " ")
    return _PERIOD.sub("", result, count=32)


def _digits_and_articles(text: str) -> str:
    words = [NUMBER_WORDS.get(word, word) for word in text.lower().split()]
    words = [word for word in words if word not in ARTICLES]
    return " ".join(CONTRACTIONS.get(word, word) for word in words)
