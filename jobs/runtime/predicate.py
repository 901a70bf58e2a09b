"""An expression of questions given as an option, checked against the model that is to answer it."""

from __future__ import annotations

from vqa_ray.calibration.file import Calibration
from vqa_ray.errors import RequestError
from vqa_ray.models.load import ModelInfo, load_vocabulary
from vqa_ray.predicates.parser import parse
from vqa_ray.predicates.predicate import Algebra, Predicate
from vqa_ray.taxonomy.taxonomy import YES_NO


def predicate_of(
    option: str,
    expression: str,
    model: ModelInfo,
    calibration: Calibration | None,
    calibration_file: str | None,
    *,
    threshold: float,
    combine: Algebra,
) -> Predicate:
    """Read an expression, and refuse what its model cannot answer.

    Args:
        option: which one holds it, for messages.
        expression: in the language of `vqa_ray.predicates.parser`.
        model: that is asked.
        calibration, calibration_file: what is known of its scores, and where it was read; None for nothing.
        threshold, combine: see `Predicate`.

    Raises:
        RequestError: it does not parse, asks for an answer that is not in the model's vocabulary, or has none of the
            calibration's questions.
    """
    predicate = parse(expression, threshold, combine, calibration.questions if calibration else None)
    if calibration is not None and not any(question in calibration.questions for question in predicate.questions):
        raise RequestError(f"--calibration {calibration_file}: holds none of the expression's questions")
    _check_answers(option, predicate, model.reference)
    return predicate


def _check_answers(option: str, predicate: Predicate, reference: str) -> None:
    """Whether a closed vocabulary holds the answers that are looked for."""
    vocabulary = load_vocabulary(reference)
    if vocabulary is None:
        return
    wanted = [each for question in predicate.questions for each in ([question.answer] if question.answer else YES_NO)]
    for answer, known in zip(wanted, vocabulary.known_choices(wanted), strict=True):
        if not known:
            raise RequestError(
                f"{option}: model {reference} cannot answer {answer!r}: it is not in its vocabulary; "
                f"{vocabulary.suggest([answer])}"
            )
