"""What a sample says of the whole: rates, bottleneck, time, machines, money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vqa_ray.counted import counted
from vqa_ray.durations import duration
from vqa_ray.runs.progress import Point, Progress, rate

# Of an actor's time: with less waiting, more CPUs change nothing.
_BUSY = 0.85
# Stages that run on CPUs before and behind the model.
_CPU_STAGES = ("read", "decode", "write")


@dataclass(frozen=True, slots=True)
class Sample:
    """A run of a few rows.

    Attributes:
        progress: at its end.
        seconds: its length, from the first answered rows on.
        bytes_written, rows_written: of its part files; input rows.
        tokens, cost: taken of an endpoint; None without one, and without a price.
    """

    progress: Progress
    seconds: float
    bytes_written: int
    rows_written: int
    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What to compute.

    Attributes:
        rows: of the whole; None when unknown.
        input_bytes: of the files of the input; None when unknown.
        deadline_hours, price_per_gpu_hour, price_per_cpu_hour: see `PlanSpec`.
    """

    rows: int | None
    input_bytes: int | None = None
    deadline_hours: float | None = None
    price_per_gpu_hour: float | None = None
    price_per_cpu_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The plan of a command; what is unknown is None.

    Attributes:
        rows: of the whole.
        sample_rows, sample_s: answered in the sample, and its length.
        failed: share of the sample's rows in error.
        start_s: seconds before the first answered row: Ray, the listing, loading the model.
        rows_per_s: of the pipeline, once it is warm.
        actors, cpus, gpus: of the sample: model actors, CPUs of the cluster, GPUs of the actors.
        rows_per_s_per_actor: of a busy actor, were its input always there.
        busy: share of their time in which the actors work.
        cpu_s_per_row: stage → seconds of a CPU for a row.
        bottleneck: stage that decides the rate.
        cpus_per_actor: CPUs that keep one actor busy.
        hours: of the whole on the cluster of the sample.
        deadline_clusters: how many times the cluster of the sample finishes by the deadline.
        deadline_actors, deadline_gpus, deadline_cpus: what finishes by it on GPUs, CPUs of reading and decoding.
        price: of the cluster for the hours.
        input_bytes, output_bytes: of the whole.
        tokens, endpoint_cost: of an endpoint, for the whole.
        warnings: why not to trust the numbers.
    """

    rows: int | None
    sample_rows: int
    sample_s: float
    failed: float
    start_s: float
    rows_per_s: float
    actors: int
    cpus: float
    gpus: float
    rows_per_s_per_actor: float | None
    busy: float | None
    cpu_s_per_row: dict[str, float]
    bottleneck: str
    cpus_per_actor: float | None
    hours: float | None
    deadline_clusters: float | None
    deadline_actors: int | None
    deadline_gpus: float | None
    deadline_cpus: int | None
    price: float | None
    input_bytes: int | None
    output_bytes: int | None
    tokens: int | None
    endpoint_cost: float | None
    warnings: list[str]


def steady(history: Sequence[Point], seconds: float) -> list[Point]:
    """Pick the points of a sample's warm part: without its first quarter, and without what follows `seconds`."""
    answered = [point for point in history if point.rows > history[0].rows]
    if not answered:
        return []
    begin = answered[0].at
    end = min(begin + seconds, answered[-1].at)
    return [point for point in answered if begin + (end - begin) / 4 <= point.at <= end]


def forecast(sample: Sample, question: Question) -> Forecast:
    """Compute the plan."""
    progress = sample.progress
    answered = max(1, progress.rows - progress.present)
    points = steady(progress.history, sample.seconds)
    speed, warnings = rate(points), []
    first = next((point.at for point in progress.history if point.rows > progress.present), progress.updated)
    if len(points) < 3 or not speed:
        span = max(progress.history[-1].at - first, 1e-3) if progress.history else 1e-3
        speed = speed or answered / span
        warnings.append("the sample is too short for a steady rate; a larger --sample-s or more rows say more")
    failed = progress.failed / answered
    if failed > 0.1:
        warnings.append(f"{failed:.0%} of the sample's rows failed, which may take less time than an answer")
    per_actor = progress.stage_rows / progress.busy_s if progress.busy_s else None
    worked = progress.busy_s + progress.idle_s
    busy = progress.busy_s / worked if worked else None
    per_row = {stage: seconds / answered for stage, seconds in progress.stages_s.items() if stage in _CPU_STAGES}
    feeding = sum(per_row.values())
    rows, gpus = question.rows, progress.gpus_per_actor * progress.actors
    start_s = first - progress.started
    hours = None if rows is None else (start_s + rows / speed) / 3600
    if question.price_per_gpu_hour and not gpus:
        warnings.append("--price-per-gpu-hour adds nothing: the actors of the sample took no GPU")
    prices = ((gpus, question.price_per_gpu_hour), (progress.cpus, question.price_per_cpu_hour))
    price = None
    if hours is not None and any(each is not None for _, each in prices):
        price = hours * sum(amount * each for amount, each in prices if each is not None)
    actors = cpus = clusters = None
    if question.deadline_hours is not None and 3600 * question.deadline_hours <= start_s:
        warnings.append(f"--deadline-hours {question.deadline_hours:g} is over before the first row: see start")
    elif question.deadline_hours is not None and rows is not None:
        wanted = rows / (3600 * question.deadline_hours - start_s)
        clusters = wanted / speed
        # Actors on CPUs share them with all other stages.
        if progress.gpus_per_actor and per_actor:
            actors, cpus = math.ceil(wanted / per_actor), math.ceil(wanted * feeding)
    whole = None if rows is None else rows / max(1, sample.rows_written)
    return Forecast(
        rows=rows,
        sample_rows=answered,
        sample_s=round(progress.history[-1].at - first, 3) if progress.history else 0.0,
        failed=failed,
        start_s=round(start_s, 3),
        rows_per_s=speed,
        actors=progress.actors,
        cpus=progress.cpus,
        gpus=gpus,
        rows_per_s_per_actor=per_actor,
        busy=busy,
        cpu_s_per_row=per_row,
        bottleneck=_bottleneck(busy, per_row),
        cpus_per_actor=None if per_actor is None else per_actor * feeding,
        hours=hours,
        deadline_clusters=clusters,
        deadline_actors=actors,
        deadline_gpus=None if actors is None else actors * progress.gpus_per_actor,
        deadline_cpus=cpus,
        price=price,
        input_bytes=question.input_bytes,
        output_bytes=None if whole is None else round(sample.bytes_written * whole),
        tokens=None if whole is None or sample.tokens is None else round(sample.tokens * whole),
        endpoint_cost=None if whole is None or sample.cost is None else sample.cost * whole,
        warnings=warnings,
    )


def _bottleneck(busy: float | None, per_row: dict[str, float]) -> str:
    if busy is None or busy >= _BUSY or not per_row:
        return "model"
    return max(per_row, key=lambda stage: per_row[stage])


def lines(plan: Forecast) -> list[str]:
    """Write the plan for a person."""
    found = [
        f"sample: {counted(plan.sample_rows, 'row')} in {duration(plan.sample_s)}, {plan.failed:.1%} failed; "
        f"start {duration(plan.start_s)}",
        f"rate: {plan.rows_per_s:,.1f} rows/s with {plan.actors} model actors, {plan.cpus:g} CPUs, {plan.gpus:g} GPUs",
    ]
    found += [f"  {stage}: {1 / s:,.1f} rows/s per CPU" for stage, s in plan.cpu_s_per_row.items() if s]
    if plan.rows_per_s_per_actor is not None and plan.busy is not None:
        found.append(f"  model: {plan.rows_per_s_per_actor:,.1f} rows/s per actor, busy {plan.busy:.0%} of the time")
    found.append(f"bottleneck: {plan.bottleneck}")
    if plan.cpus_per_actor is not None:
        unit = "GPU actor" if plan.gpus else "model actor"
        found.append(f"  {plan.cpus_per_actor:,.1f} CPUs of reading, decoding and writing keep one {unit} busy")
    if plan.rows is None or plan.hours is None:
        found.append("whole: the number of rows is unknown; --rows names it")
    else:
        price = "" if plan.price is None else f", price {plan.price:,.2f}"
        found.append(f"whole: {counted(plan.rows, 'row')} in {duration(3600 * plan.hours)} on this cluster{price}")
    if plan.deadline_actors is not None:
        gpus = f"{plan.deadline_gpus:g} GPUs"
        found.append(
            f"deadline: {plan.deadline_actors:,} model actors on {gpus}, {plan.deadline_cpus:,} CPUs to feed them"
        )
    elif plan.deadline_clusters is not None:
        found.append(f"deadline: {plan.deadline_clusters:,.2g} times this cluster")
    sizes = (("input files", plan.input_bytes), ("output", plan.output_bytes))
    found += [f"  {name}: {size / 1e9:,.3g} GB" for name, size in sizes if size is not None]
    if plan.tokens is not None:
        cost = "" if plan.endpoint_cost is None else f", cost {plan.endpoint_cost:,.4g}"
        found.append(f"  endpoint: {plan.tokens:,} tokens{cost}")
    return [*found, *(f"note: {each}" for each in plan.warnings)]
