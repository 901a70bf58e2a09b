"""The text of rows in the questions of a command."""

from __future__ import annotations

from typing import ClassVar

from vqa_ray.jobs.spec.field import Spec, option


class TextGroup(Spec):
    """The text of rows beside their images."""

    group: ClassVar[str] = "Input"

    text_budget: int | None = option(
        "Most tokens, about, of a text in a question ({title}). Default: 64; 16 for ViLT; 1024 in instruct.",
        None,
        unit="TOKENS",
        ge=1,
        le=100_000,
        omit_default_from_fingerprint=True,
    )
