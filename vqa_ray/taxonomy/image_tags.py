"""The tags of an image by a taxonomy, and the scores that they follow from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from vqa_ray.taxonomy.attribute import Level

ChoiceScore: TypeAlias = tuple[str, float]
"""A choice and its score, in float32 as it is written."""

Choices: TypeAlias = Sequence[ChoiceScore]

NOT_ASKED = "not_asked"
"""The reason why an attribute has no value: its condition does not hold."""


@dataclass(frozen=True, slots=True)
class ImageTags:
    """The tags and scores of an image.

    Attributes:
        tags: the `tags` cell.
        columns: column name → value for the attributes.
        scores: attribute → (choice, score) of the choices that were asked about, in the order of the taxonomy.
        open: the levels that apply by these scores and have none.
    """

    tags: tuple[str, ...]
    columns: Mapping[str, Any]
    scores: Mapping[str, Choices]
    open: tuple[Level, ...] = ()
