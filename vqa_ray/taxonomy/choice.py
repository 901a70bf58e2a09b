"""The choices of an attribute as `tags.yaml` writes them.

choices:
  mug: a mug                            # the phrase that the model reads
  sofa: [sofa, couch, settee]           # synonyms: the best score of them counts
  clothing:                             # a choice with choices below it
    phrases: a piece of clothing        # or a list of them; without, the choice's own name
    question: "what piece of clothing is it?"
    children: {dress: a dress, shirt: [shirt, blouse]}
  other: {below: 0.3}                   # no question: given where no other choice is, and all score below 0.3
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

_KEYS = ("phrases", "question", "children", "below")
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that is more than its phrase.

    Attributes:
        phrases: what the model reads; the best score counts. Empty for a choice that no question is asked about.
        below: the score that all others of its level must be below; None for a choice that is scored itself.
        question: the question for its children; None for that of the level above.
        children: the choices below it.
    """

    phrases: tuple[str, ...]
    below: float | None = None
    question: str | None = None
    children: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def facts(self) -> list[Any]:
        """All of it, for a fingerprint."""
        children = [[name, choice.facts] for name, choice in self.children.items()]
        return [list(self.phrases), self.below, self.question, children]


Choices: TypeAlias = dict[str, str | Choice]
"""Choice → the phrase that the model reads, or more than that."""


def choice_of(value: str | Choice) -> Choice:
    """Return a choice in its general form."""
    return Choice((value,)) if isinstance(value, str) else value


def parse_choices(given: Any) -> Choices:
    """Read the choices of an attribute.

    Raises:
        ValueError: one line on what is wrong.
    """
    choices = {
        name: choice.phrases[0] if choice == Choice(choice.phrases[:1]) else choice
        for name, choice in _level(given).items()
    }
    _check_names(choices)
    return choices


def _level(given: Any, depth: int = 1) -> dict[str, Choice]:
    """Read choices that are asked together."""
    if depth > _DEEPEST:
        raise ValueError(f"choices below choices: more than {_DEEPEST} levels")
    if not isinstance(given, list | dict) or not given:
        raise ValueError("a non-empty list of choices, or a mapping of choices to phrases, is needed")
    for name in given:
        _check_text(name)
    if isinstance(given, list):
        choices = [(name, Choice((name,))) for name in given]
    else:
        choices = [(name, _choice(name, value, depth)) for name, value in given.items()]
    phrases = [phrase for _, choice in choices for phrase in choice.phrases]
    twice = [phrase for phrase, times in Counter(phrases).items() if times > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} occurs more than once")
    if not phrases:
        raise ValueError("at least one choice without 'below' is needed, which the model is asked about")
    return dict(choices)


def _choice(name: str, given: Any, depth: int) -> Choice:
    if isinstance(given, Choice):
        return given
    if not isinstance(given, dict):
        return Choice(_phrases(name, given))
    for key in given:
        if key not in _KEYS:
            nearest = difflib.get_close_matches(str(key), _KEYS, n=1, cutoff=0.5)
            advice = f", did you mean {nearest[0]!r}" if nearest else ""
            raise ValueError(f"choice {name!r}: unknown key {key!r}{advice}; known are {', '.join(_KEYS)}")
    if "below" in given:
        return _rule(name, given)
    question = given.get("question")
    if question is not None and (not isinstance(question, str) or not question.strip() or "children" not in given):
        raise ValueError(f"choice {name!r}: question: a text, beside children, is needed; got {question!r}")
    if "children" in given and not given["children"]:
        raise ValueError(f"choice {name!r}: children: a non-empty list or mapping of choices is needed")
    children = _level(given["children"], depth + 1) if "children" in given else {}
    return Choice(_phrases(name, given.get("phrases", name)), question=question, children=children)


def _rule(name: str, given: Mapping[str, Any]) -> Choice:
    below = given["below"]
    if isinstance(below, bool) or not isinstance(below, int | float) or not 0 < below <= 1:
        raise ValueError(f"choice {name!r}: below: a number above 0, at most 1, is needed; got {below!r}")
    if len(given) > 1:
        raise ValueError(f"choice {name!r}: 'below' stands alone: no question is asked about such a choice")
    return Choice((), below=float(below))


def _phrases(name: str, given: Any) -> tuple[str, ...]:
    phrases = given if isinstance(given, list) else [given]
    if not phrases or None in phrases:
        raise ValueError(f"choice {name!r}: the phrase that the model reads is missing")
    for phrase in phrases:
        _check_text(phrase)
    return tuple(phrases)


def _check_text(text: Any) -> None:
    if isinstance(text, bool):
        raise ValueError(f'YAML reads unquoted yes, no, on and off as {text}: write "yes" in quotes')
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"each must be text that is not empty, not {text!r} (numbers need quotes)")


def nodes(choices: Mapping[str, str | Choice], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Choice]]:
    """Yield each choice of a tree with the names on the path to it, its own last."""
    for name, value in choices.items():
        choice = choice_of(value)
        path = (*above, name)
        yield path, choice
        yield from nodes(choice.children, path)


def _check_names(choices: Choices) -> None:
    places: dict[str, tuple[str, ...]] = {}
    for path, _ in nodes(choices):
        name = path[-1]
        if name in places:
            branches = " and ".join(
                "at the top" if len(each) == 1 else f"below {each[-2]!r}" for each in (places[name], path)
            )
            raise ValueError(f"{name!r} stands in two branches, {branches}; a choice has one place")
        places[name] = path
