"""The HTML of the page, from templates that escape every text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vqa_ray.report.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment


def check() -> None:
    """Refuse at once where no page could be made.

    Raises:
        RequestError: Jinja2 is not installed.
    """
    _environment()


def render(name: str, **values: Any) -> bytes:
    """A template with its values: UTF-8."""
    # Addresses may bring lone surrogates, which UTF-8 cannot write.
    return _environment().get_template(name).render(**values).encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    return environment("vqa_ray.browse", "the page", "browse")
