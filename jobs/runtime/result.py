"""The result of a run: what its exit code and its caller decide by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vqa_ray.errors import FILTERED


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run that ended.

    Attributes:
        output: where the rows are.
        rows, ok, failed: numbers of rows in the output.
        errors: error code → rows.
        integrity_errors: sentences on rows that are missing or doubled; empty for a sound output.
        has_too_many_errors: whether a larger fraction of the rows failed than `--max-error-fraction` allows.
    """

    output: str
    rows: int = 0
    ok: int = 0
    failed: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    integrity_errors: tuple[str, ...] = ()
    has_too_many_errors: bool = False

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any], output: str, max_error_fraction: float) -> RunResult:
        """Read the result of a run from its manifest."""
        rows, failed = manifest["rows"], manifest["failed"]
        return cls(
            output,
            rows,
            manifest["ok"],
            failed,
            manifest["errors"],
            tuple(manifest["findings"]),
            failed - filtered_rows(manifest) > max_error_fraction * rows,
        )

    def worse(self, other: RunResult) -> RunResult:
        """Pick the worse of two results, this one where they are alike."""
        return max(self, other, key=lambda each: (bool(each.integrity_errors), each.has_too_many_errors))


def filtered_rows(manifest: Mapping[str, Any]) -> int:
    """Count the rows of a manifest that were filtered: they are in error, and no failures."""
    return sum(count for code, count in manifest["errors"].items() if code in FILTERED)
