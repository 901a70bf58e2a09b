"""Verdicts that were given in another tool, joined to the answers of the run by the ids that `export` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vqa_ray.report.given_answers import SEPARATOR
from vqa_ray.review.items import Item, Items
from vqa_ray.review.label_file import VERDICTS, Label
from vqa_ray.review.session import verdict_on
from vqa_ray.text import normalise


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a person left of, or made of, the answer to one question.

    Attributes:
        source_key: of the row; None where the file does not name it.
        question: the question, the attribute, or `caption`; None for the only answer of the row.
        answers: the values that stand there now.
        verdict: `right` or `wrong` where the tool has one; empty where it follows from the answers.
        seen: whether a person is known to have looked; if not, an unchanged answer is no verdict.
        reviewer, time: who, and when; empty for unknown.
    """

    source_key: int | None
    question: str | None
    answers: tuple[str, ...]
    verdict: str = ""
    seen: bool = True
    reviewer: str = ""
    time: str = ""


@dataclass(slots=True)
class Imported:
    """Labels made of annotations.

    Attributes:
        labels: the verdicts.
        deleted: how many of them are of answers that are no longer in the file.
        left_out: the number of annotations without a verdict, by reason.
    """

    labels: list[Label]
    deleted: int
    left_out: Counter[str]


def labels_of(
    annotations: Iterable[Annotation], items: Items, origin: str, reviewer: str, *, absent_is_wrong: bool = False
) -> Imported:
    """Make the labels of annotations.

    Args:
        annotations: of a file.
        items: of the run that was exported.
        origin: the file, in words.
        reviewer: of those that name none.
        absent_is_wrong: whether an answer without an annotation, in a row that has others, was deleted as wrong.
    """
    numbers = items.by_key()
    found = Imported([], 0, Counter())
    seen: dict[int, set[str | None]] = {}
    for each in annotations:
        if each.source_key is None:
            found.left_out["samples without a label, so that their row is not known"] += 1
            continue
        mine = numbers.get(each.source_key, {})
        name = next(iter(mine), None) if each.question is None and len(mine) == 1 else each.question
        if name not in mine:
            found.left_out["not of this run"] += 1
            continue
        seen.setdefault(each.source_key, set()).add(name)
        item = items.at(mine[name])
        verdict, typed = _verdict(each, item)
        if not verdict:
            found.left_out["unchanged, so perhaps not looked at"] += 1
            continue
        label = verdict_on(item, verdict, typed, each.reviewer or reviewer, origin)
        found.labels.append(replace(label, time=each.time) if each.time else label)
    if absent_is_wrong:
        absent = (items.at(number) for key in seen for name, number in numbers[key].items() if name not in seen[key])
        deleted = [verdict_on(item, "wrong", "", reviewer, origin) for item in absent if item.answer]
        found.labels += deleted
        found.deleted = len(deleted)
    return found


def _verdict(each: Annotation, item: Item) -> tuple[str, str]:
    """(verdict, typed answer) of an annotation; an empty verdict where nobody is known to have looked."""
    typed = SEPARATOR.join(each.answers)
    before = (item.answer or "").split(SEPARATOR) if item.several else [item.answer or ""]
    same = _alike([text for text in each.answers if text]) == _alike([text for text in before if text])
    if each.verdict in VERDICTS and (same or each.verdict == "right"):
        return each.verdict, ""
    if same:
        return ("right" if each.seen else ""), ""
    return ("other", typed) if typed else ("wrong", "")


def _alike(texts: Sequence[str]) -> list[str]:
    return sorted(map(normalise, texts))
