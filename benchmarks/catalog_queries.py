"""What a person would search a catalogue for, and which of its products are then right."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from vqa_ray.catalog.captions import with_article
from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product

KINDS: dict[str, tuple[str, ...]] = {
    "a red mug": ("colour", "category"),
    "a mug with a dog": ("category", "motif"),
    "a striped blue t-shirt": ("pattern", "colour", "category"),
}
"""Kind of query, by an example → the attributes that it names."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "category": CATEGORIES,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "motif": MOTIFS,
}


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """A text to search for.

    Attributes:
        text: as a person would type it.
        kind: one of `KINDS`.
        wanted: attribute → the value that a right product has.
    """

    text: str
    kind: str
    wanted: tuple[tuple[str, str], ...]

    def fits(self, product: Product) -> bool:
        """Whether the product is what was searched for."""
        return all(getattr(product, name) == value for name, value in self.wanted)


def all_queries() -> list[CatalogQuery]:
    """Every query of each kind, in a fixed order."""
    found = []
    for kind, attributes in KINDS.items():
        for values in itertools.product(*(_CHOICES[name] for name in attributes)):
            wanted = dict(zip(attributes, values, strict=True))
            before = [wanted[name] for name in ("pattern", "colour") if name in wanted]
            text = with_article(" ".join([*before, wanted["category"]]))
            if "motif" in wanted:
                text += f" with {with_article(wanted['motif'])}"
            found.append(CatalogQuery(text, kind, tuple(wanted.items())))
    return found
