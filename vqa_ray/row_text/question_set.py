"""Sets of questions, shipped or in a YAML file, that are asked of every image."""

from __future__ import annotations

from importlib import resources

import yaml

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.store_errors import refused
from vqa_ray.strict_yaml import StrictLoader
from vqa_ray.text_encoding import decode_text

SHIPPED_QUESTIONS = ("document", "chart")
"""Sets that come with the package; a file of such a name is read as ./NAME."""
_MAX_BYTES = 2**20
_FORM = "wanted `questions:` and a list of texts, as answer --print-questions document prints"


def shipped_questions(name: str) -> str:
    """Return the text of a shipped set.

    Raises:
        RequestError: there is none of this name.
    """
    if name not in SHIPPED_QUESTIONS:
        raise RequestError(f"--print-questions {name}: is not shipped; there are {', '.join(SHIPPED_QUESTIONS)}")
    return resources.files("vqa_ray.row_text").joinpath(f"questions/{name}.yaml").read_text("utf-8")


def load_questions(reference: str) -> tuple[str, ...]:
    """Read a set of questions.

    Args:
        reference: one of `SHIPPED_QUESTIONS`, or the path or URI of a YAML file.

    Raises:
        RequestError: it cannot be read, or is no list of different questions.
    """
    label = f"--questions {reference}"
    if reference in SHIPPED_QUESTIONS:
        text = shipped_questions(reference)
    else:
        with refused(f"{label}: cannot be read (shipped by name: {', '.join(SHIPPED_QUESTIONS)})"):
            data = read_bytes(reference, _MAX_BYTES)
        text = ""
        try:
            text = decode_text(data)
        except UnicodeDecodeError as error:
            raise RequestError(f"{label}: is no UTF-8 text; byte {error.start} is not") from error
    try:
        document = yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        raise RequestError(f"{label}: not YAML: {one_line(error, 160)}") from error
    questions = document.get("questions") if isinstance(document, dict) and set(document) == {"questions"} else None
    if not isinstance(questions, list) or not questions:
        raise RequestError(f"{label}: {_FORM}")
    for number, question in enumerate(questions, start=1):
        if not isinstance(question, str) or not question.strip():
            raise RequestError(f"{label}: question {number} of {len(questions)} is blank or no text; {_FORM}")
    stripped = tuple(question.strip() for question in questions)
    twice = next((question for question in stripped if stripped.count(question) > 1), None)
    if twice is not None:
        raise RequestError(f"{label}: {one_line(twice, 80)!r} occurs twice")
    return stripped
