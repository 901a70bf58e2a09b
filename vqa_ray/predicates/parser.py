"""The language of `vqa-ray retrieve --where`: text → `Predicate`.

A term of its expressions (see `vqa_ray.predicates.grammar`) is a question:

    question = text [ "=" text ] [ (">=" | ">" | "<=" | "<") number | ">=" "calibrated" ]
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from vqa_ray.errors import RequestError
from vqa_ray.evaluation.calibration import CalibrationFit
from vqa_ray.predicates.grammar import QUOTED, ExpressionError, ExpressionParser
from vqa_ray.predicates.predicate import COMPARISONS, Algebra, Predicate, Question, Term

_EXAMPLE = '"is there a dog?" and not "is it a toy?"'


class PredicateError(ExpressionError):
    """An expression of questions that cannot be read; see `ExpressionError`."""

    def of_option(self, option: str) -> RequestError:
        """Return the error of a command line: with the option, and with the quotes that a shell needs."""
        text = self.text
        is_question = not set(text) & set("\"'()") and not {"and", "or", "not"} & set(text.lower().split())
        example = f'"{text.strip()}"' if is_question and text.strip() else _EXAMPLE
        error = RequestError(f"{option}: {self}; in a shell: {option} {shlex.quote(example)}")
        error.excerpt = self.excerpt
        return error


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
    root = parser.root()
    return Predicate(tuple(parser.questions), root, threshold, algebra)


class _Parser(ExpressionParser):
    """Reads questions; `questions` holds each distinct one once."""

    tokens = re.compile(
        rf"""(?P<space>\s+)
        |(?P<text>{QUOTED})
        |(?P<number>\d+(?:\.\d*)?|\.\d+)
        |(?P<sign>>=|<=|>|<|=|\(|\))
        |(?P<word>[^\W\d]\w*)""",
        re.VERBOSE | re.DOTALL,
    )
    error = PredicateError

    def __init__(self, text: str, calibrated: Mapping[Question, CalibrationFit]) -> None:
        super().__init__(text)
        self._calibrated = calibrated
        self.questions: dict[Question, int] = {}

    def term(self) -> Term:
        question = Question(self._quoted("a question in quotes"))
        if self.accept("sign", "="):
            question = Question(question.text, self._quoted("an answer in quotes"))
        number = self.questions.setdefault(question, len(self.questions))
        token, fit = self.token, self._calibrated.get(question)
        to_probability = fit.probability if fit else None
        if token.text not in COMPARISONS:
            return Term(number, None, to_probability)
        self.advance()
        bound = self.token
        if token.text == ">=" and self.accept("word", "calibrated"):
            if fit is None:
                raise self.fault("the question has no calibration to compare with", bound)
            return Term(number, (">=", fit.threshold))
        if bound.kind != "number" or not 0 <= float(bound.text) <= 1:
            raise self.fault(f"wanted a number from 0 to 1, found {bound}", bound)
        self.advance()
        return Term(number, (token.text, float(bound.text)), to_probability)

    def _quoted(self, wanted: str) -> str:
        if self.token.kind != "text":
            raise self.fault(f"wanted {wanted}, found {self.token}", self.token)
        return self.unquote()
