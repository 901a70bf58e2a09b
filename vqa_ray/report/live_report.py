"""The page of a run under way: progress, rate, errors, from `vqa_ray.runs.run_state`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vqa_ray.counted import counted
from vqa_ray.durations import duration
from vqa_ray.report.gallery import Fact
from vqa_ray.report.plots import curve
from vqa_ray.report.report_page import Bar, Bars, Headline, Report, Section, Table, counted_bars
from vqa_ray.report.row_cards import name_of_job
from vqa_ray.report.run_gallery import cut_text
from vqa_ray.runs.progress import WINDOW_S, utc
from vqa_ray.runs.run_state import RunState
from vqa_ray.storage.uri import name_of, redacted_uri

REFRESH_S = 5


def live_report(state: RunState) -> Report:
    """Make the page of a run; it loads itself again until the run is over."""
    record = state.record
    return Report(
        title=f"{name_of_job(record.job)}: {name_of(state.uri)}",
        about=f"{redacted_uri(str(record.model['reference']))} over {redacted_uri(record.input['uri'])}; run "
        f"{record.run_id}, started {_time(record.started)}; this page is of {utc(state.read_at)}.",
        headlines=tuple(_headlines(state)),
        facts=tuple(_facts(state)),
        notes=tuple(_notes(state)),
        sections=(_progress(state), _errors(state), _attempts(state), _work(state)),
        manifest=state.manifest or {"job": record.job, "command": record.command, "model": record.model},
        refresh_s=0 if state.is_over else REFRESH_S,
    )


def live_text(state: RunState) -> str:
    """Write the state for a terminal, line by line."""
    record, lines = state.record, []
    reason = f": {state.reason}" if state.reason else ""
    lines.append(f"{name_of_job(record.job)} → {redacted_uri(state.uri)}: {state.status}{reason}")
    headlines = [
        f"{each.name} {each.value}{f' ({each.interval})' if each.interval else ''}" for each in _headlines(state)
    ]
    lines.append("  " + ", ".join(headlines[1:]))
    lines.append("  " + ", ".join(f"{fact.name} {fact.value}" for fact in _facts(state)))
    lines += [f"  {note}" for note in _notes(state)[1 if state.reason else 0 :]]
    examples = _examples(state)
    for code, count in sorted(state.errors.items(), key=lambda each: -each[1]):
        lines.append(f"  {code}: {count:,}{f', such as {examples[code]}' if code in examples else ''}")
    return "\n".join(lines)


def _headlines(state: RunState) -> Iterator[Headline]:
    yield Headline("status", str(state.status))
    yield Headline("rows", f"{state.rows:,}", _of_total(state))
    if state.progress is not None and not state.is_over:
        if still := state.progress.stands_s:
            yield Headline("rows/s", "0", f"no row for {duration(still)}")
        elif speed := state.progress.rows_per_s:
            yield Headline("rows/s", f"{speed:,.1f}", f"in the last {WINDOW_S / 60:.0f} min")
        left = state.progress.seconds_left
        if left is not None:
            yield Headline("left", duration(left), f"ends about {utc(state.read_at + left)}")
    elif state.manifest is not None:
        yield Headline("rows/s", f"{state.manifest['throughput']['rows_per_s']:,.1f}")
        yield Headline("took", duration(state.manifest["timing"]["duration_s"]))
    yield Headline("failed", f"{state.failed:,}", _of_last_process(state).rstrip(".").lower())


def _time(started: str) -> str:
    """Write the start of a run as this page writes times; as it is recorded where that is no time."""
    try:
        return utc(datetime.fromisoformat(started).timestamp())
    except ValueError:
        return started


def _of_total(state: RunState) -> str:
    progress = state.progress
    if progress is None or (state.is_over and state.manifest is not None):
        return ""
    if progress.expected is None:
        return ""
    share = f", {state.share:.1%}" if state.share is not None else ""
    return f"of {'' if progress.total is not None else 'about '}{progress.expected:,}{share}"


def _facts(state: RunState) -> Iterator[Fact]:
    progress = state.progress
    if progress is not None:
        if progress.present:
            yield Fact("rows of earlier processes", f"{progress.present:,}")
        # A process that was started again counts twice.
        yield Fact("model processes so far", f"{progress.actors:,}")
        if progress.busy_s + progress.idle_s > 0:
            yield Fact("models busy", f"{progress.busy_s / (progress.busy_s + progress.idle_s):.0%}")
        if progress.attempt > 1:
            yield Fact("attempt (retry or update)", f"{progress.attempt}")
    yield Fact("processes so far", f"{state.processes}")


def _notes(state: RunState) -> list[str]:
    status = str(state.status)
    # Not `capitalize`, which takes the capitals from the reason.
    notes = [f"{status[:1].upper()}{status[1:]}: {cut_text(state.reason)}"] if state.reason else []
    if state.stale_s:
        age = duration(state.stale_s)
        notes.append(f"The counts are {age} old: its process works, but does not write its progress.")
    return [*notes, *(state.progress.down if state.progress is not None else ())]


def _progress(state: RunState) -> Section:
    bars: tuple[Bars, ...] = ()
    if state.share is not None:
        percent = 100 * state.share
        bar = Bar("rows", f"{percent:.1f} %", 0, percent, f"{state.rows:,}")
        bars = (Bars("Rows that are there", ("", "share", "rows"), (bar,)),)
    history = [] if state.progress is None else list(state.progress.history)
    if len(history) < 3:
        return Section("Progress", bars=bars)
    begin = history[0].at
    plot = curve(
        "Rows over time",
        f"{counted(history[-1].rows, 'row')} {duration(history[-1].at - begin)} after the start of the last process.",
        [((each.at - begin) / 60, each.rows) for each in history],
        ("minutes", "rows"),
    )
    return Section("Progress", plots=(plot,), bars=bars)


def _errors(state: RunState) -> Section:
    scope = _of_last_process(state)
    rows_of_scope = state.rows - (state.progress.present if scope and state.progress is not None else 0)
    codes = counted_bars("By code", ("code", "share of rows", "rows"), state.errors, rows_of_scope, tone="wrong")
    examples = _examples(state)
    rows = tuple((code, cut_text(examples[code])) for code in state.errors if code in examples)
    table = Table("The first row of each", ("code", "row"), rows, wide=True)
    bars = (codes,) if codes.bars else ()
    return Section("Errors", scope, bars=bars, tables=(table,) if rows else ())


def _of_last_process(state: RunState) -> str:
    """Tell whose errors are counted; empty where they are those of the run."""
    is_whole = state.progress is None or not state.progress.present or (state.is_over and state.manifest is not None)
    return "" if is_whole else "Of the last process."


def _examples(state: RunState) -> dict[str, str]:
    """Map each code to the message and the image of its first row."""
    found = {} if state.progress is None else state.progress.examples
    return {code: text.removeprefix(f"{code}: ") for code, text in found.items()}


def _attempts(state: RunState) -> Section:
    entries = [*(state.manifest or {}).get("attempts", ()), *(state.manifest or {}).get("updates", ())]
    rows = tuple(
        (str(each["attempt"]), "; ".join(f"{name} {value}" for name, value in each.items() if name != "attempt"))
        for each in entries
    )
    return Section("Retries and updates", tables=(Table("Attempts", ("attempt", "result"), rows),) if rows else ())


def _work(state: RunState) -> Section:
    seconds = dict(state.manifest["timing"]["stages_s"]) if state.manifest is not None and state.is_over else {}
    rows = tuple((stage, f"{each:,.1f}") for stage, each in seconds.items())
    table = Table("Seconds of work", ("stage", "seconds"), rows, numbers_from=1)
    return Section("Work", tables=(table,) if rows else ())
