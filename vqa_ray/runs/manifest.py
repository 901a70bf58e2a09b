"""The manifest: what came of a run, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vqa_ray.errors import RequestError, one_line
from vqa_ray.runs.completeness import repeated
from vqa_ray.runs.counts import RowCounts
from vqa_ray.runs.record import FORMAT, RunRecord, to_json
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of the last process of a run, starting Ray and loading the model included.

    Attributes:
        started, finished: UTC, ISO 8601.
        duration_s: between them.
        rows_here: input rows that it wrote itself; the others stood there from before a kill.
        stages_s: operator → seconds of work, added up over its tasks.
        spilled_bytes: what Ray moved from memory to disk.
        cache: uri, hits, misses, saved_s of the cache of answers; None without one.
        images: what the model, and the second model, saw of their images; see `describe_seen`.
    """

    started: str
    finished: str
    duration_s: float
    rows_here: int
    stages_s: Mapping[str, float]
    spilled_bytes: int
    cache: Mapping[str, Any] | None = None
    images: Sequence[Mapping[str, Any]] = ()


def build(
    record: RunRecord,
    counts: RowCounts,
    timing: Timing,
    findings: Sequence[str],
    history: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of a manifest.

    Args:
        record: the request.
        counts: the rows of the output.
        timing: of the last process.
        findings: what is wrong with the rows; see `completeness.findings`.
        history: `attempts`, an entry for each retry of failed rows (attempt, codes, rows, ok), and `updates`, one for
            each update (attempt, started, finished, rows new, changed, gone and kept, its cost).
    """
    seconds = max(timing.duration_s, 1e-9)
    timed = asdict(timing)
    cache, images = timed.pop("cache"), timed.pop("images")
    share = timing.rows_here / len(counts.keys) if len(counts.keys) else 0.0
    return {
        "format": FORMAT,
        "status": "inconsistent" if findings else "finished",
        "findings": list(findings),
        "spec_hash": record.spec_hash,
        **asdict(record),
        "input_rows": len(counts.keys),
        "rows": counts.rows,
        "ok": counts.ok,
        "failed": counts.rows - counts.ok - counts.gone,
        "gone": counts.gone,
        "errors": dict(sorted(counts.errors.items())),
        "warnings": counts.warnings,
        "cut_at_limit": counts.cut,
        "images": counts.images,
        "questions": counts.questions,
        "rows_sharing_a_row_id": repeated(counts.row_ids),
        "timing": timed,
        **({"cache": cache} if cache else {}),
        **({"images_seen": images} if images else {}),
        "throughput": {
            "rows_per_s": round(counts.rows * share / seconds, 3),
            "images_per_s": round(counts.images * share / seconds, 3),
            "questions_per_s": round(counts.questions * share / seconds, 3),
        },
        **{name: [dict(entry) for entry in (history or {}).get(name, ())] for name in ("attempts", "updates")},
    }


def next_attempt(manifest: Mapping[str, Any]) -> int:
    """Give the number of the attempt after those of a finished run: itself, its retries and its updates."""
    return 2 + len(manifest["attempts"]) + len(manifest.get("updates", ()))


def write(uri: str, manifest: Mapping[str, Any]) -> None:
    """Write it, atomically."""
    write_bytes_atomic(uri, to_json(manifest))


def read(uri: str) -> dict[str, Any] | None:
    """Read the manifest at `uri`; None when the run has not finished.

    Raises:
        RequestError: the file is damaged.
    """
    try:
        data = read_bytes(uri)
    except FileNotFoundError:
        return None
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"{uri}: is damaged: {one_line(error)}; delete it and run the command of this output again, which finishes "
            "the run anew from its rows"
        ) from error
