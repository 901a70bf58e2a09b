"""Questions about products in varied wording, with their answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product

NOTHING = "nothing"
YES, NO = "yes", "no"

KINDS = ("category", "colour", "pattern", "motif", "is_category", "is_colour", "is_pattern", "is_motif")
ANSWERS: tuple[str, ...] = tuple(sorted({*CATEGORIES, *COLOURS, *PATTERNS, *MOTIFS, NOTHING, YES, NO}))

# {it}: "it", "the product" or the product's own name.
_OPEN: dict[str, tuple[str, ...]] = {
    "category": (
        "what product is this?",
        "what is this?",
        "what is it?",
        "what kind of product is this?",
        "which product is shown?",
        "what item is in the picture?",
        "what is for sale here?",
        "what type of product is shown in the photo?",
    ),
    "colour": (
        "what colour is {it}?",
        "what color is {it}?",
        "which colour is {it}?",
        "what is the colour of {it}?",
        "what is the main color of {it}?",
        "what colour does {it} have?",
    ),
    "pattern": (
        "what pattern does {it} have?",
        "which pattern does {it} have?",
        "what is the pattern of {it}?",
        "what kind of pattern is on {it}?",
        "what pattern is this?",
        "how is {it} patterned?",
    ),
    "motif": (
        "what is printed on {it}?",
        "what is the motif on {it}?",
        "what picture is on {it}?",
        "what does the print on {it} show?",
        "which motif does {it} have?",
        "what is shown on {it}?",
    ),
}
# {value}: the value asked about; {a_value}: with its article.
_CLOSED: dict[str, tuple[str, ...]] = {
    "is_category": (
        "is this {a_value}?",
        "is it {a_value}?",
        "is there {a_value} in the picture?",
        "is the product {a_value}?",
        "does the photo show {a_value}?",
    ),
    "is_colour": (
        "is {it} {value}?",
        "is {it} mainly {value}?",
        "is the colour of {it} {value}?",
        "is the main color {value}?",
        "is this product {value}?",
    ),
    "is_pattern": (
        "is {it} {value}?",
        "is the pattern {value}?",
        "is the pattern of {it} {value}?",
        "does {it} have a {value} pattern?",
        "is this a {value} product?",
    ),
    "is_motif": (
        "is there {a_value}?",
        "is there {a_value} on {it}?",
        "is {a_value} printed on {it}?",
        "does {it} show {a_value}?",
        "does {it} have {a_value} on it?",
        "can you see {a_value}?",
        "is the motif {a_value}?",
    ),
}
_IS_MOTIF_NOTHING = (
    "is there nothing printed on {it}?",
    "is {it} without a motif?",
    "is there no picture on {it}?",
    "does {it} come without a print?",
)
_ARTICLE = {"umbrella": "an umbrella", "trousers": "a pair of trousers"}
_NAME = {"trousers": "pair of trousers"}
# Values that are easily confused; questions with the answer "no" name them more often than others.
_ALIKE: dict[str, tuple[str, ...]] = {
    "dog": ("cat",),
    "cat": ("dog",),
    "star": ("flower",),
    "flower": ("star",),
    "fish": ("dog", "car"),
    "car": ("dog", "fish"),
    "orange": ("yellow", "brown", "red"),
    "brown": ("orange", "black"),
    "red": ("orange", "pink", "brown"),
    "pink": ("red", "purple"),
    "purple": ("blue", "pink"),
    "blue": ("purple",),
    "yellow": ("orange",),
    "black": ("brown", "white"),
    "white": ("black",),
    "striped": ("zigzag",),
    "zigzag": ("striped", "checked"),
    "checked": ("dotted", "zigzag"),
    "dotted": ("checked", "plain"),
    "plain": ("dotted",),
}
_ALIKE_SHARE = 0.3

_CHOICES: dict[str, tuple[str, ...]] = {
    "category": CATEGORIES,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "motif": (*MOTIFS, NOTHING),
}


@dataclass(frozen=True, slots=True)
class CatalogQuestion:
    """A question about one product, its one right answer (of `ANSWERS`) and its kind (of `KINDS`)."""

    question: str
    answer: str
    kind: str


def truth(product: Product, attribute: str) -> str:
    """Return the value of `category`, `colour`, `pattern` or `motif`; `nothing` where no motif is printed."""
    return getattr(product, attribute) or NOTHING


def ask(product: Product, kind: str, rng: np.random.Generator) -> CatalogQuestion:
    """Ask a question of a kind. Yes/no questions are answered yes as often as no, for every product.

    Raises:
        ValueError: `kind` is not one of `KINDS`.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown question kind {kind!r}: one of {', '.join(KINDS)}")
    attribute = kind.removeprefix("is_")
    actual = truth(product, attribute)
    if kind == attribute:
        return CatalogQuestion(_worded(_pick(_OPEN[kind], rng), product.category, "", rng), actual, kind)
    value = actual if rng.random() < 0.5 else _other(attribute, actual, rng)
    wordings = _IS_MOTIF_NOTHING if value == NOTHING else _CLOSED[kind]
    question = _worded(_pick(wordings, rng), product.category, value, rng, names=kind != "is_category")
    return CatalogQuestion(question, YES if value == actual else NO, kind)


def _pick(items: tuple[str, ...], rng: np.random.Generator) -> str:
    return items[rng.integers(len(items))]


def _other(attribute: str, actual: str, rng: np.random.Generator) -> str:
    alike = _ALIKE.get(actual)
    if alike and rng.random() < _ALIKE_SHARE:
        return _pick(alike, rng)
    return _pick(tuple(v for v in _CHOICES[attribute] if v != actual), rng)


def _article(value: str) -> str:
    return _ARTICLE.get(value, f"a {value}")


def _subjects(category: str) -> tuple[str, str, str]:
    return "it", "the product", f"the {_NAME.get(category, category)}"


def _worded(wording: str, category: str, value: str, rng: np.random.Generator, *, names: bool = True) -> str:
    """Fill in a wording; the name of the product is used only with `names`."""
    return _filled(wording, _pick(_subjects(category)[: 3 if names else 2], rng), value)


def _filled(wording: str, subject: str, value: str) -> str:
    return wording.format(it=subject, value=value, a_value=_article(value))
