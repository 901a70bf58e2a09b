"""Lengths of time in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Write a length of time for a person: 41 s, 12 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
