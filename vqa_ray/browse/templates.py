"""Rendering of the templates of the page."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vqa_ray.report.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment


def check() -> None:
    """Check before any work that pages can be rendered.

    Raises:
        RequestError: Jinja2 is not installed.
    """
    _environment()


def render(name: str, **values: Any) -> bytes:
    """Render a template as UTF-8."""
    # URLs may hold lone surrogates, which UTF-8 cannot encode.
    return _environment().get_template(name).render(**values).encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    return environment("vqa_ray.browse", "the page", "browse")
