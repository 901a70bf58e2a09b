"""Templates of pages, which escape every text."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from vqa_ray.errors import RequestError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str, page: str, extra: str = "report") -> Environment:
    """Make the environment of the templates that lie in a package.

    Args:
        package: its import name.
        page: what is made of them, for the message.
        extra: the extra of ours that brings Jinja2.

    Raises:
        RequestError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise RequestError(f"{page} needs Jinja2, which is not installed: pip install 'vqa-ray[{extra}]'") from error
    files = resources.files(package)
    loader = FunctionLoader(lambda name: files.joinpath(name).read_text("utf-8"))
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader)
