"""Descriptions of a catalogue's products, in varied wording: "a red mug with a dog on it", "striped blue t-shirt"."""

from __future__ import annotations

import numpy as np

from vqa_ray.catalog.product import Product

MOST_CAPTIONS = 100

# {a}: the motif with its article; {motif}: without.
_MOTIF = (
    "with {a}",
    "with {a} on it",
    "with {a} printed on it",
    "with a picture of {a}",
    "with a {motif} print",
    "showing {a}",
)
_NO_MOTIF = ("without a print", "with nothing printed on it")
_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "checked": ("checked", "checkered"),
    "dotted": ("dotted", "spotted"),
    "plain": ("plain",),
    "striped": ("striped",),
    "zigzag": ("zigzag",),
}
_PATTERN_TAILS: dict[str, tuple[str, ...]] = {
    "checked": ("with checks", "with a checked pattern"),
    "dotted": ("with dots", "with a dotted pattern"),
    "plain": ("without a pattern",),
    "striped": ("with stripes", "with a striped pattern"),
    "zigzag": ("with a zigzag pattern",),
}
_ANYTHING = ("product", "item")
_BEGINNINGS = ("a photo of {}", "a picture of {}", "the photo shows {}")
_VOWELS = "aeiou"

# Probabilities of variations; otherwise the part is left out, or worded the usual way.
_SAYS_ALL = 0.4
_SAYS_EACH = 0.5
_SAYS_PLAIN = 0.4
_SAYS_NO_MOTIF = 0.15
_NAMES_PRODUCT = 0.93
_PATTERN_BEHIND = 0.25
_COLOUR_BEHIND = 0.1
_PATTERN_FIRST = 0.5
_WITHOUT_ARTICLE = 0.2
_WITH_BEGINNING = 0.2


def captions_for(product: Product, count: int) -> list[str]:
    """Describe a product `count` times, truthfully; some captions name everything, others a part; some may be equal.

    Deterministic; a smaller count gives the first captions of a greater one.

    Raises:
        ValueError: `count` is negative.
    """
    if count < 0:
        raise ValueError(f"{count} captions: expected at least 0")
    # The last number separates these draws from those of `sample_product` and of questions.
    rng = np.random.default_rng([product.seed, product.index, 2])
    return [_describe(product, rng) for _ in range(count)]


def with_article(words: str) -> str:
    """Add the indefinite article: `a mug`, `an orange mug`, `a pair of trousers`."""
    if "trousers" in words:
        words = f"pair of {words}"
    return f"{'an' if words[0] in _VOWELS else 'a'} {words}"


def _describe(product: Product, rng: np.random.Generator) -> str:
    says_all = rng.random() < _SAYS_ALL
    colour, pattern, motif = (says_all or rng.random() < _SAYS_EACH for _ in range(3))
    noun = product.category if rng.random() < _NAMES_PRODUCT else _pick(_ANYTHING, rng)
    before, behind = [], []
    if pattern and (product.pattern != "plain" or rng.random() < _SAYS_PLAIN):
        if rng.random() < _PATTERN_BEHIND:
            behind.append(_pick(_PATTERN_TAILS[product.pattern], rng))
        else:
            before.append(_pick(_ADJECTIVES[product.pattern], rng))
    if colour:
        if rng.random() < _COLOUR_BEHIND:
            noun = f"{noun} in {product.colour}"
        else:
            before.insert(len(before) if rng.random() < _PATTERN_FIRST else 0, product.colour)
    if motif and product.motif is not None:
        behind.append(_pick(_MOTIF, rng).format(a=with_article(product.motif), motif=product.motif))
    elif motif and rng.random() < _SAYS_NO_MOTIF:
        behind.append(_pick(_NO_MOTIF, rng))
    named = " ".join([*before, noun])
    described = named if rng.random() < _WITHOUT_ARTICLE else with_article(named)
    whole = " ".join([described, " and ".join(behind)]).strip().replace("and showing", "showing")
    return _pick(_BEGINNINGS, rng).format(whole) if rng.random() < _WITH_BEGINNING else whole


def _pick(items: tuple[str, ...], rng: np.random.Generator) -> str:
    return items[rng.integers(len(items))]
