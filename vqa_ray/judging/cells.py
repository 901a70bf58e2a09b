"""Cells of truth that state several texts: lists, or text that spells a list; and what an empty one means."""

from __future__ import annotations

import json
from typing import Any

# A cell of a true label that nobody has looked at.
UNLABELLED = "?"


def listed_texts(cell: Any) -> Any:
    """Return the list of texts that a text spells as JSON; every other cell as it is."""
    if not (isinstance(cell, str) and cell.startswith("[") and cell.endswith("]")):
        return cell
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return found if all(isinstance(each, str) for each in found) else cell


def true_labels(cell: Any, *, multi: bool) -> list[Any] | None:
    """Return the true labels of an attribute; None where the cell is not labelled.

    Args:
        cell: one label, a list of them, or nothing.
        multi: whether an empty cell states that no label is true, rather than that nobody has labelled it.
    """
    found = listed_texts(cell)
    if found is None or (isinstance(found, str) and not found.strip()):
        return [] if multi else None
    labels = found if isinstance(found, list) else [found]
    if labels == [UNLABELLED]:
        return None
    return [each for each in labels if not isinstance(each, str) or each.strip()]
