"""How the scores of an image become its tags, and what is still to be asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqa_ray.taxonomy.attribute import Attribute, Level
from vqa_ray.taxonomy.image_tags import NOT_ASKED, Choices, ChoiceScore, ImageTags


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An attribute of an image.

    Attributes:
        given: its choices with their scores: best first, or those of a path from the top.
        score: of the choice that came nearest; None where no choice was asked about.
        open: the next level to ask; None where all is decided.
        is_asked: whether the attribute applies.
    """

    given: Sequence[ChoiceScore] = ()
    score: float | None = None
    open: Level | None = None
    is_asked: bool = True


_NOT_ASKED = _Outcome(is_asked=False)


def decide(ordered: Sequence[Attribute], attributes: Sequence[Attribute], scores: Mapping[str, Choices]) -> ImageTags:
    """Return the tags of an image by the scores that are known.

    Args:
        ordered: the attributes, none before another that its condition names.
        attributes: the attributes in the order of their columns.
        scores: attribute → the choices that were asked about with their scores; those of all children, or of none.
    """
    outcomes: dict[str, _Outcome] = {}
    known: dict[str, frozenset[str]] = {}
    for each in ordered:
        applies = True if each.condition is None else each.condition.holds(known)
        outcome = _outcome(each, scores.get(each.name, ())) if applies else _NOT_ASKED
        outcomes[each.name] = outcome
        if applies is not None and outcome.open is None:
            known[each.name] = frozenset(name for name, _ in outcome.given)
    tags = tuple(f"{each.name}:{choice}" for each in attributes for choice, _ in outcomes[each.name].given)
    columns: dict[str, Any] = {}
    for each in attributes:
        columns |= _columns(each, outcomes[each.name])
    asked = {
        each.name: scores[each.name] for each in attributes if outcomes[each.name].is_asked and each.name in scores
    }
    still_open = tuple(level for each in ordered if (level := outcomes[each.name].open) is not None)
    return ImageTags(tags, columns, asked, still_open)


def _outcome(attribute: Attribute, scores: Choices) -> _Outcome:
    scored = dict(scores)
    path: list[ChoiceScore] = []
    best: float | None = None
    level: Level | None = attribute.levels[0]
    while level is not None:
        ranked = sorted(((name, scored[name]) for name in level.choices if name in scored), key=lambda pair: -pair[1])
        if not ranked:
            return _Outcome(path, best, level, is_asked=bool(path))
        given = [pair for pair in ranked if pair[1] >= _bound(attribute, pair[0])] or _by_rule(level, ranked[0][1])
        if attribute.multi:
            return _Outcome(given, ranked[0][1])
        if not given:
            return _Outcome(path, ranked[0][1] if best is None else best)
        name, best = given[0]
        path += [(name, best)] if attribute.shortlist is None else [(each, best) for each in attribute.paths[name]]
        level = attribute.levels_below.get(name)
    return _Outcome(path, best)


def _bound(attribute: Attribute, choice: str) -> np.float32:
    # Compared in float32, as scores are kept.
    return np.float32(attribute.thresholds.get(choice, attribute.threshold))


def _by_rule(level: Level, best: float) -> list[ChoiceScore]:
    """Return the choice that stands for none of the others, as sure as the best of them is not."""
    return [(name, float(np.float32(1.0 - best))) for bound, name in level.rules if best < np.float32(bound)][:1]


def _columns(attribute: Attribute, outcome: _Outcome) -> dict[str, Any]:
    value_column, score_column = attribute.columns
    names = [name for name, _ in outcome.given]
    cells: dict[str, Any] = {value_column: None, score_column: None}
    if attribute.multi:
        if outcome.is_asked:
            cells = {value_column: names, score_column: [score for _, score in outcome.given]}
    else:
        cells = {value_column: names[-1] if names else None, score_column: outcome.score}
    if attribute.has_children:
        cells[f"{attribute.name}_path"] = names or None
    if attribute.when is not None:
        cells[f"{attribute.name}_reason"] = None if outcome.is_asked else NOT_ASKED
    return cells
