"""The HTML of the page, from templates that escape every text."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from vqa_ray.errors import RequestError

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
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise RequestError("the page needs Jinja2, which is not installed: pip install 'vqa-ray[browse]'") from error
    files = resources.files("vqa_ray.browse")
    loader = FunctionLoader(lambda name: files.joinpath(name).read_text("utf-8"))
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader)
