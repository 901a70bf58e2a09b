"""The Levenshtein distance of two strings.

Source: Myers, "A fast bit-vector algorithm for approximate string matching" (1999), in Hyyrö's form for whole strings
(2003): a column of the dynamic programme is two bit vectors of its differences, each a Python integer.
"""

from __future__ import annotations


def edit_distance(a: str, b: str) -> int:
    """Return the fewest insertions, deletions and substitutions of single characters that turn `a` into `b`."""
    # The bit vectors are as long as the shorter string.
    a, b = sorted((a, b), key=len)
    if a == b:
        return 0
    if not a:
        return len(b)
    places: dict[str, int] = {}
    for at, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << at
    full, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = full, 0, len(a)
    for character in b:
        equal = places.get(character, 0)
        flat = (((equal & rises) + rises) ^ rises) | equal | falls
        right_rises, right_falls = falls | ~(flat | rises) & full, rises & flat
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1 | 1) & full
        right_falls = right_falls << 1 & full
        rises, falls = right_falls | ~(flat | right_rises) & full, right_rises & flat
    return distance
