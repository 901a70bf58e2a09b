"""The language of `vqa-ray retrieve --where`: text → `Predicate`.

    expression = term { "or" term }           term = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | question
    question   = text [ "=" text ] [ (">=" | ">" | "<=" | "<") number | ">=" "calibrated" ]

Text stands in single or double quotes; a backslash takes the character after it as it is. Words may be in capitals.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.evaluation.calibration import CalibrationFit
from vqa_ray.predicates.predicate import COMPARISONS, Algebra, AllOf, AnyOf, Node, Not, Predicate, Question, Term

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>\d+(?:\.\d*)?|\.\d+)
    |(?P<sign>>=|<=|>|<|=|\(|\))
    |(?P<word>[^\W\d]\w*)""",
    re.VERBOSE | re.DOTALL,
)
_DEEPEST = 100
_EXAMPLE = '"is there a dog?" and not "is it a toy?"'


class PredicateError(RequestError):
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
        self._text = text
        # One line of the terminal per line, whatever white space the expression holds.
        shown = "".join(" " if character.isspace() else character for character in text)
        self.excerpt = f"  {shown}\n  {' ' * position}^"

    def of_option(self, option: str) -> RequestError:
        """Return the error of a command line: with the option, and with the quotes that a shell needs."""
        is_question = not set(self._text) & set("\"'()") and not {"and", "or", "not"} & set(self._text.lower().split())
        example = f'"{self._text.strip()}"' if is_question and self._text.strip() else _EXAMPLE
        error = RequestError(f"{option}: {self}; in a shell: {option} {shlex.quote(example)}")
        error.excerpt = self.excerpt
        return error


@dataclass(frozen=True, slots=True)
class _Token:
    """A word of the language; `fault` describes text that is none, at which reading ends."""

    kind: str
    text: str
    position: int
    fault: str = ""


def parse(
    text: str,
    threshold: float = 0.5,
    algebra: Algebra = "min-max",
    calibrated: Mapping[Question, CalibrationFit] | None = None,
) -> Predicate:
    """Read an expression.

    Args:
        text: the expression.
        threshold: see `Predicate`.
        algebra: see `Predicate`.
        calibrated: questions whose scores become probabilities, and which have a threshold to compare with.

    Raises:
        PredicateError: it is none.
    """
    parser = _Parser(text, calibrated or {})
    root = parser.expression(0)
    parser.end()
    return Predicate(tuple(parser.questions), root, threshold, algebra)


class _Parser:
    """Recursive descent over the tokens of an expression; `questions` holds each distinct one once."""

    def __init__(self, text: str, calibrated: Mapping[Question, CalibrationFit]) -> None:
        self._calibrated = calibrated
        self.questions: dict[Question, int] = {}
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    def expression(self, depth: int) -> Node:
        parts = [self._term(depth)]
        while self._accept("word", "or"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def end(self) -> None:
        token = self._token
        if token.kind != "end":
            wanted = "`and`, `or` or the end"
            hint = "; `)` without its `(`" if token.text == ")" else ""
            raise self._fault(f"wanted {wanted}, found {_named(token)}{hint}", token)

    def _term(self, depth: int) -> Node:
        parts = [self._factor(depth)]
        while self._accept("word", "and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _factor(self, depth: int) -> Node:
        token = self._token
        if depth > _DEEPEST:
            raise self._fault(f"nested more than {_DEEPEST} deep", token)
        if self._accept("word", "not"):
            return Not(self._factor(depth + 1))
        if self._accept("sign", "("):
            inner = self.expression(depth + 1)
            if not self._accept("sign", ")"):
                opened = f"`(` at character {token.position + 1}"
                raise self._fault(f"wanted `)` for the {opened}, found {_named(self._token)}", self._token)
            return inner
        return self._asked()

    def _asked(self) -> Term:
        question = Question(self._quoted("a question in quotes"))
        if self._accept("sign", "="):
            question = Question(question.text, self._quoted("an answer in quotes"))
        number = self.questions.setdefault(question, len(self.questions))
        token, fit = self._token, self._calibrated.get(question)
        to_probability = fit.probability if fit else None
        if token.text not in COMPARISONS:
            return Term(number, None, to_probability)
        self._next += 1
        bound = self._token
        if token.text == ">=" and self._accept("word", "calibrated"):
            if fit is None:
                raise self._fault("the question has no calibration to compare with", bound)
            return Term(number, (">=", fit.threshold))
        if bound.kind != "number" or not 0 <= float(bound.text) <= 1:
            raise self._fault(f"wanted a number from 0 to 1, found {_named(bound)}", bound)
        self._next += 1
        return Term(number, (token.text, float(bound.text)), to_probability)

    def _quoted(self, wanted: str) -> str:
        token = self._token
        if token.kind != "text":
            raise self._fault(f"wanted {wanted}, found {_named(token)}", token)
        said = " ".join(re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL).split())
        if not said:
            raise self._fault("the text in quotes is blank", token)
        self._next += 1
        return said

    def _accept(self, kind: str, text: str) -> bool:
        token = self._token
        accepted = token.kind == kind and token.text.lower() == text
        self._next += accepted
        return accepted

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _fault(self, reason: str, token: _Token) -> PredicateError:
        return PredicateError(token.fault or reason, self._text, token.position)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            character = text[position]
            fault = "this quote is never closed" if character in "\"'" else f"{character!r} has no meaning here"
            return [*tokens, _Token("fault", character, position, fault)]
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), position))
        position = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _named(token: _Token) -> str:
    return "the end" if token.kind == "end" else f"`{token.text}`"
