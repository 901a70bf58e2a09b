"""Arguments of the API, checked before any work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from vqa_ray.api.rows import in_python
from vqa_ray.calibration.file import Calibration
from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.predicates.parser import parse
from vqa_ray.predicates.predicate import Algebra, Predicate
from vqa_ray.row_text.template import columns_of
from vqa_ray.stages.retrieve import check_answers
from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy, parse_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy

_MOST_ANSWERS = 100

TaxonomyLike: TypeAlias = Taxonomy | Mapping[str, Any] | str | None


def checked_questions(questions: str | Sequence[str] | None, argument: str = "questions") -> tuple[str, ...]:
    """Return questions for every image; none for None.

    Args:
        questions: one or several.
        argument: the argument that holds them, for messages.

    Raises:
        RequestError: there is none, or one is blank or no text.
    """
    if questions is None:
        return ()
    given = (questions,) if isinstance(questions, str) else tuple(questions)
    if not given:
        raise RequestError(f"{argument} is empty; give at least one")
    for index, question in enumerate(given):
        if not isinstance(question, str) or not question.strip():
            raise RequestError(f"{argument}[{index}] is {question!r}; wanted is a text that is not blank")
    return tuple(question.strip() for question in given)


def checked_top_k(top_k: int) -> int:
    """Return the answers to keep per question.

    Raises:
        RequestError: it is not within 1 and 100.
    """
    if not 1 <= top_k <= _MOST_ANSWERS:
        raise RequestError(f"top_k is {top_k}; allowed are 1 to {_MOST_ANSWERS}")
    return top_k


def taxonomy_of(given: TaxonomyLike) -> Taxonomy:
    """Return a taxonomy: as it is, as the content of a `tags.yaml`, from the path or URI of one, or the built-in one.

    Raises:
        RequestError: it cannot be read, or is none.
    """
    taxonomy = _taxonomy(given)
    columns = columns_of(asked.question for asked in taxonomy.questions())
    if columns:
        raise RequestError(f"taxonomy: a question names the column {{{columns[0]}}}; only `vqa-ray tag` reads columns")
    return taxonomy


def _taxonomy(given: TaxonomyLike) -> Taxonomy:
    if isinstance(given, Taxonomy):
        return given
    if given is None:
        return default_taxonomy()
    if isinstance(given, Mapping):
        try:
            # JSON is YAML: a mapping is checked as a file is.
            return parse_taxonomy(json.dumps(given), "taxonomy")
        except TypeError as error:
            raise RequestError(f"taxonomy: {error}") from error
    return load_taxonomy(str(given))


def check_context(columns: Mapping[str, str], checkpoint: Checkpoint) -> None:
    """Refuse a column of earlier turns where the model answers each question by itself.

    Raises:
        RequestError: it does.
    """
    family = checkpoint.family
    if "context" in columns and not (family.is_generative and family.has_turns):
        raise RequestError(
            f"columns={{'context': {columns['context']!r}}}: {checkpoint.label}: {family.display_name} answers each "
            "question by itself; use a generative model, or leave the column out"
        )


def check_prompt(prompt: str | None, checkpoint: Checkpoint) -> None:
    """Refuse the beginning of a caption where the model begins its captions by itself.

    Raises:
        RequestError: it does.
    """
    if prompt is not None and not checkpoint.family.has_turns:
        name = checkpoint.family.display_name
        raise RequestError(f"prompt: {checkpoint.label}: {name} begins its captions by itself")


def calibrated_taxonomy(given: TaxonomyLike, calibration: str | None, checkpoint: Checkpoint) -> Taxonomy:
    """Return a taxonomy that a model can answer, with the thresholds of a calibration file.

    Raises:
        RequestError: see `taxonomy_of`; also a choice that is not in the model's vocabulary, or a calibration that
            cannot be read or was made for another model.
    """
    taxonomy = taxonomy_of(given)
    if checkpoint.vocabulary is not None:
        taxonomy.check_against(checkpoint.vocabulary, checkpoint.reference, "taxonomy")
    fitted = _calibration(calibration, checkpoint)
    if fitted is None:
        return taxonomy
    return taxonomy.calibrated({tag: fit.threshold for tag, fit in fitted.tags.items()})


def calibrated_predicate(
    where: str, threshold: float, combine: Algebra, calibration: str | None, checkpoint: Checkpoint
) -> Predicate:
    """Parse an expression, with the probabilities of a calibration file, that a model can answer.

    Raises:
        RequestError: see `calibrated_taxonomy`; also an expression that does not parse, or a word that is not in the
            model's vocabulary.
    """
    fitted = _calibration(calibration, checkpoint)
    predicate = parse(where, threshold, combine, None if fitted is None else fitted.questions)
    check_answers("where", predicate, checkpoint.reference, checkpoint.vocabulary)
    return predicate


def _calibration(uri: str | None, checkpoint: Checkpoint) -> Calibration | None:
    if uri is None:
        return None
    try:
        calibration = Calibration.read(uri)
        calibration.check_model(checkpoint.reference, checkpoint.fingerprint, uri)
    except RequestError as error:
        raise RequestError(in_python(str(error))) from error
    return calibration
