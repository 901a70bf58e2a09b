"""Read `tags.yaml`: YAML → `Taxonomy`, with its errors in one line."""

from __future__ import annotations

import difflib
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.store_errors import refused
from vqa_ray.strict_yaml import StrictLoader
from vqa_ray.taxonomy.attribute import Attribute, Shortlist
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.text_encoding import decode_text, other_encoding

MAX_TAXONOMY_BYTES = 16 * 2**20
# Taxonomies that come with the package; a file of such a name is read as ./NAME.
SHIPPED = ("listing-check",)

_NEEDED = ("attributes", "name", "question", "choices", "model")


def load_taxonomy(uri: str, encoding: str | None = None) -> Taxonomy:
    """Read a taxonomy from a path or any URI that `vqa_ray.storage.filesystem` knows, or one of `SHIPPED` by its name.

    Raises:
        RequestError: it is not there, or see `parse_taxonomy`.
    """
    if uri in SHIPPED:
        return parse_taxonomy(resources.files("vqa_ray.taxonomy").joinpath(f"{uri}.yaml").read_text("utf-8"), uri)
    with refused(f"{uri}: the taxonomy cannot be read (shipped by name: {', '.join(SHIPPED)})"):
        data = storage.read_bytes(uri, MAX_TAXONOMY_BYTES)
    try:
        text = decode_text(data, encoding)
    except UnicodeDecodeError as error:
        hint = other_encoding(encoding)
        raise RequestError(f"{uri}: a taxonomy is UTF-8 text; byte {error.start} is not{hint}") from error
    return parse_taxonomy(text, uri)


def default_taxonomy() -> Taxonomy:
    """Return the taxonomy of the built-in catalogue's products, `vqa_ray/catalog/tags.yaml`."""
    return parse_taxonomy(resources.files("vqa_ray.catalog").joinpath("tags.yaml").read_text("utf-8"), "tags.yaml")


def parse_taxonomy(text: str, where: str) -> Taxonomy:
    """Return a taxonomy from the text of a YAML file.

    Raises:
        RequestError: one line with the file, the attribute, what was given and what is allowed.
    """
    try:
        document = yaml.load(text, StrictLoader)  # a SafeLoader: builds plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f", line {mark.line + 1}" if mark else ""
        raise RequestError(f"{where}{at}: {one_line(error.problem)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RequestError(f"{where}: not YAML: {one_line(error)}") from error
    if not isinstance(document, dict):
        raise RequestError(f"{where}: a mapping with the key 'attributes' is needed, got {_shown(document)}")
    try:
        return Taxonomy.model_validate(document)
    except ValidationError as error:
        raise RequestError(f"{where}: {_first_problem(error, document)}") from error


def _first_problem(error: ValidationError, document: dict[str, Any]) -> str:
    # A misspelt key is often why another one is missing, so it comes first.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    message = _problem(problems[0], document)
    return message if len(problems) == 1 else f"{message} (and {len(problems) - 1} more)"


def _problem(problem: Any, document: dict[str, Any]) -> str:
    kind, location = problem["type"], list(problem["loc"])
    of_attribute = len(location) >= 2
    where = f"{_attribute_at(document, location[1])}: " if of_attribute else ""
    known = Attribute.model_fields if of_attribute else Taxonomy.model_fields
    if location[2:3] == ["shortlist"] and (len(location) > 3 or kind == "model_type"):
        where, known = f"{where}shortlist: ", Shortlist.model_fields
        del location[2]
    key = str(location[2] if len(location) > 2 else location[0] if location and not of_attribute else "")
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        advice = f", did you mean {nearest[0]!r}" if nearest else ""
        return f"{where}unknown key {key!r}{advice}; known are {', '.join(known)}"
    if kind == "missing":
        needed = [name for name, field in known.items() if name in _NEEDED and field.is_required()]
        return f"{where}key {key!r} is missing; needed are {', '.join(needed)}"
    reason = problem["msg"].removeprefix("Value error, ")
    if kind == "model_type":
        reason = f"a mapping with the keys {', '.join(known)} is needed"
    if kind == "value_error" and not key:
        return f"{where}{reason}"
    return f"{where}{f'{key}: ' if key else ''}{reason}; got {_shown(problem['input'])}"


def _attribute_at(document: dict[str, Any], index: int | str) -> str:
    attributes = document.get("attributes")
    entry = attributes[index] if isinstance(attributes, list) and isinstance(index, int) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"attribute {name!r}" if isinstance(name, str) else f"attribute number {int(index) + 1}"


def _shown(value: object) -> str:
    return one_line(repr(value), 80)
