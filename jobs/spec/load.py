"""A spec from a YAML file, from options, or from both."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.field import option_name
from vqa_ray.strict_yaml import StrictLoader
from vqa_ray.text_encoding import decode_text

S = TypeVar("S", bound=BaseModel)


def load(kind: type[S], file: str | None, options: Mapping[str, Any]) -> S:
    """Load a spec.

    Args:
        kind: which spec.
        file: the YAML file, a mapping of field names to values; None for options alone.
        options: field → value of the options that were given; they win over the file.

    Raises:
        RequestError: an unknown key (the nearest known one is named), a missing or a wrong value.
    """
    values: dict[str, Any] = _read(file) if file else {}
    for key in values:
        if key not in kind.model_fields:
            near = difflib.get_close_matches(str(key), kind.model_fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(kind.model_fields))}"
            raise RequestError(f"{file}: unknown key {key!r}{hint}")
    try:
        spec = kind.model_validate({**values, **options})
    except ValidationError as error:
        raise RequestError(_message(kind, error, file, options)) from error
    for name, value in spec:
        repeated = [each for each, times in Counter(value).items() if times > 1] if isinstance(value, list) else []
        if repeated:
            raise RequestError(f"{_where(kind, name, file, options)}: {repeated[0]!r} is given twice; wanted once")
    return spec


def _read(file: str) -> dict[str, Any]:
    try:
        values = yaml.load(decode_text(Path(file).read_bytes()), StrictLoader)
    except OSError as error:
        raise RequestError(f"{file}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        hint = "; a value with a colon needs quotes" if "mapping values" in str(error.problem) else ""
        raise RequestError(f"{file}: not YAML: {line}{error.problem}{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RequestError(f"{file}: wanted a mapping of names to values, got {type(values).__name__}")
    return values


def _message(kind: type[BaseModel], error: ValidationError, file: str | None, options: Mapping[str, Any]) -> str:
    """Write the first error of a spec in one line that names the option or the key."""
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    where = _where(kind, name, file, options)
    if first["type"] == "missing":
        return f"{where}: is required"
    given = first["input"] if len(first["loc"]) > 1 else options.get(name, first["input"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}, given {given!r}"


def _where(kind: type[BaseModel], name: str, file: str | None, options: Mapping[str, Any]) -> str:
    """Name the option or the key of the file that gave the value of a field."""
    return option_name(name, kind) if name in options or not file else f"{file}: {name}"
