"""The order of attributes by their conditions, and conditions that cannot be."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from vqa_ray.taxonomy.attribute import Attribute

# Values to try before a condition counts as one that may be true.
_MOST_TRIES = 20_000
_NOTHING: frozenset[str] = frozenset()


def by_dependency(attributes: Sequence[Attribute]) -> list[Attribute]:
    """Return attributes in an order in which none stands before another that its condition names.

    Raises:
        ValueError: a condition names an unknown attribute or choice, depends on itself, or can never be true.
    """
    known = {each.name: each for each in attributes}
    for attribute in attributes:
        _check_names(attribute, known)
    ordered: dict[str, Attribute] = {}
    for attribute in attributes:
        _add(attribute, known, ordered, ())
    for attribute in ordered.values():
        if not _may_hold(attribute, known, ordered):
            raise ValueError(f"attribute {attribute.name!r}: when: {attribute.when!r} is never true")
    return list(ordered.values())


def _check_names(attribute: Attribute, known: Mapping[str, Attribute]) -> None:
    for comparison in attribute.condition.comparisons if attribute.condition else ():
        origin, other = f"attribute {attribute.name!r}: when", known.get(comparison.attribute)
        if other is None:
            raise ValueError(f"{origin}: no attribute {comparison.attribute!r}{_nearest(comparison.attribute, known)}")
        for choice in sorted(comparison.choices):
            if choice not in other.paths:
                hint = _nearest(choice, other.paths)
                raise ValueError(f"{origin}: attribute {other.name!r} has no choice {choice!r}{hint}")


def _nearest(word: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    shown = ", ".join(list(known)[:10]) + (", …" if len(known) > 10 else "")
    return f", did you mean {nearest[0]!r}" if nearest else f"; known are {shown}"


def _add(
    attribute: Attribute, known: Mapping[str, Attribute], ordered: dict[str, Attribute], above: tuple[str, ...]
) -> None:
    if attribute.name in above:
        circle = " → ".join((*above[above.index(attribute.name) :], attribute.name))
        raise ValueError(f"attribute {attribute.name!r}: when: a circle of conditions: {circle}")
    if attribute.name in ordered:
        return
    for name in attribute.condition.attributes if attribute.condition else ():
        _add(known[name], known, ordered, (*above, attribute.name))
    ordered[attribute.name] = attribute


def _may_hold(attribute: Attribute, known: Mapping[str, Attribute], ordered: Mapping[str, Attribute]) -> bool:
    """Try the values of all attributes that a condition depends on; True where there are too many."""
    needed, mentioned = {attribute.name}, dict[str, set[str]]()
    for name in reversed(list(ordered)):
        if name in needed and (condition := known[name].condition):
            needed.update(condition.attributes)
            for each in condition.comparisons:
                mentioned.setdefault(each.attribute, set()).update(each.choices)
    order = [known[name] for name in ordered if name in needed]
    tries = iter(range(_MOST_TRIES))

    def holds(position: int, given: dict[str, frozenset[str]]) -> bool:
        if next(tries, None) is None:
            return True
        each = order[position]
        applies = True if each.condition is None else each.condition.holds(given)
        if each is attribute or (attribute.condition and attribute.condition.holds(given) is False):
            return each is attribute and bool(applies)
        values = _values(each, mentioned[each.name]) if applies else [_NOTHING]
        return any(holds(position + 1, {**given, each.name: value}) for value in values)

    return attribute.condition is None or holds(0, {})


def _values(attribute: Attribute, mentioned: set[str]) -> Iterator[frozenset[str]]:
    """Yield what an image may have of the choices that conditions mention."""
    names = sorted(mentioned)
    sizes = range(len(names) + 1) if attribute.multi else (1,)
    if not attribute.multi:
        yield _NOTHING
    for size in sizes:
        for chosen in combinations(names, size):
            yield frozenset(part for name in chosen for part in attribute.paths[name]) & mentioned
