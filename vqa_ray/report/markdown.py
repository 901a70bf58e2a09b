"""Untrusted text in Markdown."""

from __future__ import annotations

import re

from vqa_ray.errors import one_line
from vqa_ray.report.training_summary import without_credentials

# Characters that Markdown or HTML may take for markup.
_MARKUP = re.compile(r"([\\`*_\[\]<>~$&|@]|:(?=//)|^[-+#])")
_VALUE_LIMIT = 200


def text(value: object) -> str:
    """Escape a value as one line of Markdown, for tables too, without markup and credentials."""
    return _MARKUP.sub(r"\\\1", one_line(without_credentials(value), _VALUE_LIMIT))


def fenced(content: str, language: str) -> str:
    """Return a code block with a fence that its content cannot close."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content}\n{fence}"
