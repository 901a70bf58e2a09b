"""An expression of questions given as an option, checked against the model that answers it."""

from __future__ import annotations

from vqa_ray.calibration.file import Calibration
from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.predicates.parser import PredicateError, parse
from vqa_ray.predicates.predicate import Algebra, Predicate
from vqa_ray.row_text.template import columns_of
from vqa_ray.stages.retrieve import check_answers


def parse_checked(
    option: str,
    expression: str,
    model: Checkpoint,
    calibration: Calibration | None,
    calibration_file: str | None,
    *,
    threshold: float,
    combine: Algebra,
    has_rows: bool = False,
) -> Predicate:
    """Parse an expression, and refuse what its model cannot answer.

    Args:
        option: the option that holds it, for messages.
        expression: in the language of `vqa_ray.predicates.parser`.
        model: the model that answers.
        calibration: of the model's scores; None for none.
        calibration_file: the file of the calibration, for messages.
        threshold: the lowest score of a match.
        combine: the algebra of scores, see `Predicate`.
        has_rows: whether its questions may name columns of the input.

    Raises:
        RequestError: it does not parse, names a column where there are no rows, asks for an answer that is not in the
            model's vocabulary, or has none of the calibration's questions.
    """
    try:
        predicate = parse(expression, threshold, combine, calibration.questions if calibration else None)
    except PredicateError as error:
        # The page of `browse` has no shell.
        if not option.startswith("--"):
            raise
        raise error.of_option(option) from error
    columns = columns_of(question.text for question in predicate.questions)
    if columns and not has_rows:
        raise RequestError(f"{option}: {{{columns[0]}}} names a column of an input, which only `vqa-ray retrieve` has")
    if calibration is not None and not any(question in calibration.questions for question in predicate.questions):
        raise RequestError(f"--calibration {calibration_file}: holds none of the expression's questions")
    check_answers(option, predicate, model.reference, model.vocabulary)
    return predicate
