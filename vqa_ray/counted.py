"""Counts in words."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Write a count of things for a person: 1 row, 1,204 rows; the plural of `noun` takes an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
