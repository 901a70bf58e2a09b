"""The conditions of attributes: `when: category in [dress, shirt] and colour != black`.

A term of the expressions (see `vqa_ray.predicates.grammar`) compares an attribute with its choices:

    comparison = attribute ("=" | "==" | "!=") choice | attribute [ "not" ] "in" "[" choice { "," choice } "]"

A choice is a word (letters, digits, `_`, hyphens) or stands in quotes. `=` and `in` are true where the attribute has
one of the choices: its value, one of its values, or a choice on the path to its value. `!=` and `not in` are their
negations, so they are true as well where the attribute has no value or was not asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from vqa_ray.predicates.grammar import QUOTED, ExpressionParser, Token
from vqa_ray.predicates.predicate import Node, Not, Predicate, Term


@dataclass(frozen=True, slots=True)
class HasChoice:
    """A comparison: whether an attribute has one of some choices."""

    attribute: str
    choices: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """Under which values of other attributes an attribute applies.

    Attributes:
        comparisons: each once.
        predicate: joins them; the number of a term is that of its comparison.
    """

    comparisons: tuple[HasChoice, ...]
    predicate: Predicate

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a condition.

        Raises:
            ExpressionError: it is none.
        """
        parser = _Parser(text)
        root = parser.root()
        return cls(tuple(parser.comparisons), Predicate((), root))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that it names, each once."""
        return tuple(dict.fromkeys(each.attribute for each in self.comparisons))

    def holds(self, given: Mapping[str, frozenset[str]]) -> bool | None:
        """Check the condition; None where attributes that are not known yet decide.

        Args:
            given: the attributes that are known → the choices that they have.
        """
        known = {
            number: float(not each.choices.isdisjoint(given[each.attribute]))
            for number, each in enumerate(self.comparisons)
            if each.attribute in given
        }
        score = self.predicate.score(known)
        return None if score is None else score == 1.0


class _Parser(ExpressionParser):
    """Reads comparisons; `comparisons` holds each distinct one once."""

    tokens = re.compile(
        rf"(?P<space>\s+)|(?P<text>{QUOTED})|(?P<sign>==|!=|=|\(|\)|\[|\]|,)|(?P<word>\w+(?:-+\w+)*)", re.DOTALL
    )

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.comparisons: dict[HasChoice, int] = {}

    def term(self) -> Node:
        name = self.token
        if name.kind != "word":
            raise self.fault(f"wanted an attribute, found {name}", name)
        self.advance()
        operator = self.token
        if operator.text in ("=", "==", "!="):
            self.advance()
            return self._compared(name, [self._choice()], negated=operator.text == "!=")
        negated = self.accept("word", "not")
        if not self.accept("word", "in"):
            raise self.fault(f"wanted =, !=, `in` or `not in` after `{name.text}`, found {self.token}", self.token)
        if not self.accept("sign", "["):
            raise self.fault(f"wanted choices in [ ], found {self.token}", self.token)
        choices = [self._choice()]
        while self.accept("sign", ","):
            choices.append(self._choice())
        if not self.accept("sign", "]"):
            raise self.fault(f"wanted `,` or `]`, found {self.token}", self.token)
        return self._compared(name, choices, negated=negated)

    def _compared(self, name: Token, choices: list[str], *, negated: bool) -> Node:
        comparison = HasChoice(name.text, frozenset(choices))
        term = Term(self.comparisons.setdefault(comparison, len(self.comparisons)))
        return Not(term) if negated else term

    def _choice(self) -> str:
        token = self.token
        if token.kind == "text":
            return self.unquote()
        if token.kind != "word":
            raise self.fault(f"wanted a choice, found {token}", token)
        choice = self.advance().text
        if self.token.kind == "word" and self.token.text.lower() not in ("and", "or"):
            raise self.fault(f'a choice of several words stands in quotes: "{choice} {self.token.text}"', self.token)
        return choice
