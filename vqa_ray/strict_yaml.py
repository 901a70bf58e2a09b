"""YAML and JSON as people write them by hand: a key that occurs twice is refused."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from vqa_ray.errors import one_line

# Of a document, aliases written out; a taxonomy of ten thousand choices has a tenth of it.
_MOST_VALUES = 1_000_000


class StrictLoader(yaml.SafeLoader):
    """Refuse a key that occurs twice in a mapping, whose last value YAML would keep silently, and documents too large.

    A few aliases of aliases stand for millions of values, and an alias within its own value for no end of them. All
    that cannot be read ends in a `YAMLError`.
    """

    def get_single_node(self) -> yaml.Node | None:
        try:
            node = super().get_single_node()
            size = 0 if node is None else _size(node, {})
        except RecursionError as error:
            raise yaml.MarkedYAMLError(problem="it is nested too deeply, or within itself") from error
        if size > _MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"it holds more than {_MOST_VALUES:,} values, its aliases written out")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, AttributeError, LookupError) as error:
            # The 30th of February, or text behind !!int: PyYAML lets through what Python says.
            shown = one_line(node.value, 40) if isinstance(node, yaml.ScalarNode) else "it"
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(problem=f"{shown!r} is no {kind}", problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key!r} occurs twice", problem_mark=key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else id(key_node))
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a node, each alias as often as it occurs."""
    if id(node) not in known:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object whose keys occur once.

    Raises:
        ValueError: one occurs twice: which value is meant cannot be known.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:60]!r} occurs twice")
    return found
