"""`vqa-ray plan`: a sample of a command, and what it says of the whole."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict

import typer

from vqa_ray.durations import duration
from vqa_ray.errors import BudgetSpentError, RequestError, TimeSpentError
from vqa_ray.jobs import typer_app
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.plan.forecast import Question, Sample, forecast, lines
from vqa_ray.jobs.plan.sample_directory import sample_directory
from vqa_ray.jobs.plan.spec import PlanSpec
from vqa_ray.jobs.runtime.endpoint import endpoint_of
from vqa_ray.jobs.runtime.logs import warnings_only
from vqa_ray.jobs.runtime.reading_time import sampling
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.readers.changes.snapshot import read_snapshot
from vqa_ray.runs import ledger
from vqa_ray.runs.counts import current_keys
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.progress import Progress
from vqa_ray.runs.record import RunRecord
from vqa_ray.types import total_usage

logger = logging.getLogger(__name__)

_ENDPOINT_ROWS = 200
# Options of what a sample neither writes nor uses.
_FILES = ("gallery", "cache", "llava")
# Options that make something else of a command than a run over its input.
_OTHERS = ("retry_failed", "update", "batch_file", "batch_results")


def run(spec: PlanSpec) -> None:
    """Run the sample, and print the plan."""
    job = typer_app.parse(spec.job, COMMANDS)
    if job is None:
        return
    name = spec.job[0]
    if not isinstance(job, RunSpec):
        raise RequestError(f"{name}: is not planned; wanted a command that writes a row per image, such as answer")
    for option in _OTHERS:
        if getattr(job, option, None):
            raise RequestError(f"--{option.replace('_', '-')}: does not go with plan; leave it out")
    most = spec.sample_rows
    if most is None and endpoint_of(job) is not None:
        most = _ENDPOINT_ROWS
    limits = [each for each in (job.limit, most) if each is not None]
    # A cache would make the sample faster than the whole, or be filled by it; pages and exports are of whole runs.
    others = {name: None for name in _FILES if hasattr(job, name)}
    with sample_directory(job.output) as output:
        changed = {"output": output, "limit": min(limits, default=None), "max_error_fraction": 1.0}
        logger.info("a sample of %s runs, for %s from its first rows on …", name, duration(spec.sample_s))
        _run(name, job.model_copy(update=changed | others), spec.sample_s)
        plan = forecast(measured(output, spec.sample_s), _question(spec, job, output, is_cut=most is not None))
    typer.echo(json.dumps(asdict(plan), indent=2) if spec.as_json else "\n".join(lines(plan)))


def _run(name: str, sample: RunSpec, seconds: float) -> None:
    """Run a sample to its end, or to that of its time or budget."""
    with sampling(seconds), warnings_only():
        try:
            imported(COMMANDS[name].module).run(sample)
        except TimeSpentError:
            pass
        except BudgetSpentError:
            progress = Progress.read(RunDirectory(sample.output).progress)
            if progress is None or progress.rows == 0:
                raise


def measured(output: str, seconds: float) -> Sample:
    """Read what a sample of this length has left in its output.

    Raises:
        RequestError: it has no row.
    """
    directory = RunDirectory(output)
    progress = Progress.read(directory.progress)
    if progress is None or progress.rows == 0:
        raise RequestError("the sample answered no row: the input is empty, or --sample-s is too short")
    parts = directory.part_files()
    usage = total_usage(ledger.read(directory.usage))
    return Sample(
        progress,
        seconds,
        sum(entry.size_bytes for entry in parts),
        # A question of a row may have a row of its own.
        len(current_keys(entry.uri for entry in parts)[0]),
        None if usage is None else usage.prompt_tokens + usage.completion_tokens,
        None if usage is None else usage.cost,
    )


def _question(spec: PlanSpec, job: RunSpec, output: str, *, is_cut: bool) -> Question:
    directory = RunDirectory(output)
    record, listing, progress = (
        RunRecord.read(directory.record),
        read_snapshot(directory.listing()),
        Progress.read(directory.progress),
    )
    rows = spec.rows
    if rows is None and record is not None:
        rows = record.input.get("rows")
    if rows is None and progress is not None and not is_cut and job.limit is None:
        rows = progress.expected
    if spec.rows is None and job.limit is not None:
        rows = int(min(job.limit, rows or math.inf))
    return Question(
        rows,
        None if listing is None else sum(shard.size_bytes for shard in listing.shards),
        spec.deadline_hours,
        spec.price_per_gpu_hour,
        spec.price_per_cpu_hour,
    )
