"""JSON Schemas that are hard to keep to: deep enumerations, quotes, other scripts, patterns, narrow bounds, options."""

from __future__ import annotations

import random
from typing import Any

_WORDS = (
    *("red", "reddish", "red ", 'say "no"', "back\\slash", "line\nbreak", "tab\t", "größe", "日本語"),
    *("🧥 coat", "null", "true", "{", '"}', "a, b", "", " ", "é", "e\u0301", "\u200b", "0", "-1", "ﬁ", "\x7f"),
)
_PATTERNS = (
    r"^[A-Z]{2}-\d{3}$",
    r"^(a|ab|abc){1,4}$",
    r"^[α-ω]{1,3}$",
    r'^"[^"]{0,5}"$',
    r"^#[0-9a-f]{6}$",
    r"^\d{1,3}(\.\d)?$",
)


def hostile_schema(seed: int) -> dict[str, Any]:
    """Return a schema of one to five fields, the same for the same seed."""
    rng = random.Random(seed)
    return _object(rng, depth=0)


def _object(rng: random.Random, depth: int) -> dict[str, Any]:
    names = rng.sample(
        ["colour", "größe", "n", "kind_of", "a-b", "Ω", "long_" * 10, "is_new"], rng.randint(1, 5 - depth)
    )
    return {
        "type": "object",
        "properties": {name: _part(rng, depth) for name in names},
        "required": [name for name in names if rng.random() < 0.6],
        "additionalProperties": False,
    }


def _part(rng: random.Random, depth: int) -> dict[str, Any]:
    made = rng.choice((_enum, _deep_enum, _integer, _number, _pattern, _text, _array, _boolean, _nested))(rng, depth)
    return {"anyOf": [made, {"type": "null"}]} if rng.random() < 0.2 else made


def _enum(rng: random.Random, depth: int) -> dict[str, Any]:
    del depth
    if rng.random() < 0.3:
        return {"enum": rng.sample(range(-120, 120), 6)}
    return {"enum": rng.sample(_WORDS, rng.randint(1, 6))}


def _deep_enum(rng: random.Random, depth: int) -> dict[str, Any]:
    del depth
    return {"enum": [f"{rng.choice(_WORDS)}/{number}/{rng.choice(_WORDS)}" for number in range(300)]}


def _integer(rng: random.Random, depth: int) -> dict[str, Any]:
    del depth
    least = rng.randint(-1000, 1000)
    return {
        "type": "integer",
        **({"minimum": least, "maximum": least + rng.randint(0, 50)} if rng.random() < 0.8 else {}),
    }


def _number(rng: random.Random, depth: int) -> dict[str, Any]:
    del depth
    least = rng.uniform(-10, 10)
    return {"type": "number", "exclusiveMinimum": round(least, 2), "maximum": round(least + 1, 3)}


def _pattern(rng: random.Random, depth: int) -> dict[str, Any]:
    del depth
    return {"type": "string", "pattern": rng.choice(_PATTERNS)}


def _text(rng: random.Random, depth: int) -> dict[str, Any]:
    del depth
    return {"type": "string", "minLength": rng.randint(0, 3), "maxLength": rng.randint(3, 12)}


def _boolean(rng: random.Random, depth: int) -> dict[str, Any]:
    del rng, depth
    return {"type": "boolean"}


def _array(rng: random.Random, depth: int) -> dict[str, Any]:
    item = rng.choice((_enum, _integer, _text, _boolean))(rng, depth)
    return {"type": "array", "items": item, "minItems": rng.randint(0, 2), "maxItems": rng.randint(2, 4)}


def _nested(rng: random.Random, depth: int) -> dict[str, Any]:
    return _object(rng, depth + 1) if depth == 0 else _boolean(rng, depth)
