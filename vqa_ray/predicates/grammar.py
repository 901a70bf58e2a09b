"""The grammar that all boolean expressions share: `and`, `or`, `not` and parentheses around the terms of a language.

    expression = conjunction { "or" conjunction }    conjunction = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | term

Text stands in single or double quotes; a backslash takes the character after it as it is. Words may be in capitals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from vqa_ray.errors import RequestError
from vqa_ray.predicates.predicate import AllOf, AnyOf, Node, Not

QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_DEEPEST = 100


class ExpressionError(RequestError):
    """An expression that cannot be read.

    Args:
        reason: one line.
        text: the expression.
        position: of the fault, counted from 0.

    Attributes:
        excerpt: the expression with a caret below the fault, two lines.
    """

    def __init__(self, reason: str, text: str, position: int) -> None:
        super().__init__(f"{reason}, at character {position + 1} of {text!r}")
        self.text = text
        # One line of the terminal per line, whatever white space the expression holds.
        shown = "".join(" " if character.isspace() else character for character in text)
        self.excerpt = f"  {shown}\n  {' ' * position}^"


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the language; `fault` describes text that is none, at which reading ends."""

    kind: str
    text: str
    position: int
    fault: str = ""

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text}`"


class ExpressionParser:
    """Recursive descent over the tokens of an expression; a language brings its tokens and its terms.

    Args:
        text: the expression.
    """

    tokens: ClassVar[re.Pattern[str]]
    """A named group for each kind of token: `space`, `text` (quoted), `sign`, `word` and others."""

    error: ClassVar[type[ExpressionError]] = ExpressionError

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._read(text)
        self._next = 0

    def root(self) -> Node:
        """Read the whole expression.

        Raises:
            ExpressionError: it is none.
        """
        node, token = self._expression(0), self.token
        if token.kind != "end":
            hint = "; `)` without its `(`" if token.text == ")" else ""
            raise self.fault(f"wanted `and`, `or` or the end, found {token}{hint}", token)
        return node

    def term(self) -> Node:
        """Read a term."""
        raise NotImplementedError

    def _expression(self, depth: int) -> Node:
        parts = [self._conjunction(depth)]
        while self.accept("word", "or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _conjunction(self, depth: int) -> Node:
        parts = [self._factor(depth)]
        while self.accept("word", "and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _factor(self, depth: int) -> Node:
        token = self.token
        if depth > _DEEPEST:
            raise self.fault(f"nested more than {_DEEPEST} deep", token)
        if self.accept("word", "not"):
            return Not(self._factor(depth + 1))
        if self.accept("sign", "("):
            inner = self._expression(depth + 1)
            if not self.accept("sign", ")"):
                opened = f"`(` at character {token.position + 1}"
                raise self.fault(f"wanted `)` for the {opened}, found {self.token}", self.token)
            return inner
        return self.term()

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[self._next]

    def advance(self) -> Token:
        """Take the next token."""
        token = self.token
        self._next += 1
        return token

    def accept(self, kind: str, text: str) -> bool:
        """Take the next token if it is this one."""
        accepted = self.token.kind == kind and self.token.text.lower() == text
        self._next += accepted
        return accepted

    def unquote(self) -> str:
        """Take the quoted text that comes next, with single spaces.

        Raises:
            ExpressionError: it is blank.
        """
        token = self.token
        said = " ".join(re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL).split())
        if not said:
            raise self.fault("the text in quotes is blank", token)
        self._next += 1
        return said

    def fault(self, reason: str, token: Token) -> ExpressionError:
        """Make the error of a token."""
        return self.error(token.fault or reason, self._text, token.position)

    def _read(self, text: str) -> list[Token]:
        tokens: list[Token] = []
        position = 0
        while position < len(text):
            match = self.tokens.match(text, position)
            if match is None:
                character = text[position]
                fault = "this quote is never closed" if character in "\"'" else f"{character!r} has no meaning here"
                return [*tokens, Token("fault", character, position, fault)]
            if match.lastgroup != "space":
                tokens.append(Token(str(match.lastgroup), match.group(), position))
            position = match.end()
        return [*tokens, Token("end", "", len(text))]
