"""The tags of an image by a taxonomy, and the scores that they follow from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# (choice, score in float32, as it is written) of the choices of an attribute.
Choices: TypeAlias = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class ImageTags:
    """The tags and scores of an image.

    Attributes:
        tags: the `tags` cell.
        columns: column name → value for the attributes.
        scores: attribute → (choice, score) of all its choices, in the order of the taxonomy.
    """

    tags: tuple[str, ...]
    columns: Mapping[str, Any]
    scores: Mapping[str, Choices]
