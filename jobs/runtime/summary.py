"""The summary of a finished run: a few lines for a person."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from vqa_ray.counted import counted
from vqa_ray.durations import duration
from vqa_ray.jobs.runtime.answer_cache import summary_line
from vqa_ray.jobs.runtime.images_seen import seen_line
from vqa_ray.jobs.runtime.result import RunResult, filtered_rows

logger = logging.getLogger(__name__)

# The verb of a job for its rows.
_VERBS = {"tag": "tagged", "caption": "captioned", "index": "embedded", "retrieve": "scored", "instruct": "written"}
_BUNDLED = "bundled:"


def log_summary(manifest: Mapping[str, Any], output: str, max_error_fraction: float) -> RunResult:
    """Log the summary of a run that ended, and give its result."""
    counts = {name: manifest[name] for name in ("rows", "ok", "failed", "errors", "warnings", "images", "questions")}
    counts["input_rows"] = _input_rows(manifest)
    fields = {**counts, "output": output, "seconds": manifest["timing"]["duration_s"], **manifest["throughput"]}
    first, *rest = summary_lines(manifest, output)
    logger.info("%s", first, extra={"fields": fields})
    for line in rest:
        logger.info("%s", line)
    for finding in manifest["findings"]:
        logger.error("%s: %s", output, finding)
    result = RunResult.of_manifest(manifest, output, max_error_fraction)
    if result.has_too_many_errors and not result.integrity_errors:
        logger.error(
            "%s: %d of %d rows failed, more than --max-error-fraction %g; --retry-failed answers them again",
            output,
            manifest["failed"] - filtered_rows(manifest),
            manifest["rows"],
            max_error_fraction,
        )
    return result


def _input_rows(manifest: Mapping[str, Any]) -> int:
    """Give the rows of the input; older manifests do not count them apart."""
    return int(manifest.get("input_rows", manifest["rows"]))


def summary_lines(manifest: Mapping[str, Any], output: str) -> list[str]:
    """Write the summary, line by line."""
    timing, speed = manifest["timing"], manifest["throughput"]
    verb = _VERBS.get(manifest["job"], "answered")
    rows, of = counted(manifest["rows"], "row"), _input_rows(manifest)
    if of != manifest["rows"]:
        rows = f"{rows} (a question each) of {counted(of, 'input row')}"
    filtered = filtered_rows(manifest)
    failed = f"{manifest['failed'] - filtered:,} failed" + (f", {filtered:,} filtered" if filtered else "")
    lines = [f"{rows}: {manifest['ok']:,} {verb}, {failed} → {output}"]
    if manifest.get("gone"):
        lines.append(f"  gone from the input: {counted(manifest['gone'], 'row')}, marked (status `gone`)")
    if manifest["errors"]:
        lines.append("  errors: " + ", ".join(f"{code} {rows:,}" for code, rows in manifest["errors"].items()))
    if manifest["warnings"]:
        lines.append(f"  warnings: {counted(manifest['warnings'], 'row')} (column `warning`)")
    if str(manifest["model"].get("reference", "")).startswith(_BUNDLED):
        lines.append(
            f"  {manifest['model']['reference']} knows rendered products only: on photos, its results mean little"
        )
    cut = manifest.get("cut_at_limit", 0)
    if cut:
        what = "captions" if manifest["job"] == "caption" else "answers"
        limit = manifest["model"].get("max_new_tokens", "the limit of new")
        lines.append(f"  {cut:,} {what} were cut at {limit} tokens; --max-new-tokens allows more")
    if (used := manifest.get("usage")) is not None:
        cost = "" if used["cost"] is None else f", cost {used['cost']:.6g}"
        lines.append(
            f"  endpoint: {counted(used['requests'], 'request')}, {used['prompt_tokens']:,} tokens read, "
            f"{used['completion_tokens']:,} written{cost}"
        )
    if manifest["rows_sharing_a_row_id"]:
        lines.append(f"  {manifest['rows_sharing_a_row_id']:,} rows share their row_id with another row")
    questions = f", {speed['questions_per_s']:,.1f} questions/s" if manifest["questions"] else ""
    earlier = _input_rows(manifest) - timing["rows_here"]
    lines.append(
        f"  {duration(timing['duration_s'])}, {speed['images_per_s']:,.1f} images/s{questions}"
        + (f"; {counted(earlier, 'row')} {'was' if earlier == 1 else 'were'} there already" if earlier else "")
    )
    if "second_opinion" in manifest:
        lines.append(_second_opinion(manifest["second_opinion"], timing["stages_s"]))
    lines += map(seen_line, manifest.get("images_seen", ()))
    if "cache" in manifest:
        lines.append(summary_line(manifest["cache"]))
    if timing["stages_s"]:
        lines.append(
            "  work: " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in timing["stages_s"].items())
        )
    return lines


def _second_opinion(counts: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    """Write the share of the second model in a run's rows and in the work of its last process."""
    share = counts["asked"] / max(1, counts["rows"])
    work = seconds.get("second model", 0.0)
    both = work + seconds.get("model", 0.0)
    return (
        f"  second opinion: {counts['model']['reference']} was asked about {counted(counts['asked'], 'row')} "
        f"({share:.1%}), decides {counts['decided']:,}, agrees on {counts['agreed']:,} of {counts['compared']:,} that "
        "both answered" + (f"; {work / both:.0%} of the models' time" if both else "")
    )
