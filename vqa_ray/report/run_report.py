"""The report of a run without truth: what was answered, how sure, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.report.card import Card, Line, ScoredText
from vqa_ray.report.chosen_rows import choose_rows, rows_by_key
from vqa_ray.report.gallery import Fact
from vqa_ray.report.input_pictures import InputPictures
from vqa_ray.report.plots import histogram
from vqa_ray.report.report_page import Bars, Report, Section, Table, counted_bars
from vqa_ray.report.row_cards import WRITERS, CardMaker, name_of_job, tag_attributes, title_of
from vqa_ray.report.run_gallery import cut_text, run_cards
from vqa_ray.report.run_notes import run_notes
from vqa_ray.report.run_tally import EDGES, RunTally, Unsure, tally_run
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_schema
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.uri import name_of, redacted_uri

_UNSURE_CARDS, _OTHER_CARDS = 12, 24
_MOST_QUESTIONS = 12


def run_report(uri: str, record: RunRecord, *, allow_http: bool = False) -> Report:
    """Make the report of a run.

    Args:
        uri: of the run.
        record: its record.
        allow_http: whether images are fetched from the web.

    Raises:
        RequestError: it is a run of another command, or has no rows.
    """
    if record.job not in WRITERS or record.job in ("index", "instruct"):
        known = ", ".join(job for job in WRITERS if job not in ("index", "instruct", "fill"))
        raise RequestError(f"{uri}: a run of {record.job}; a report is made of runs of {known}")
    layout = RunDirectory(uri)
    parts = [entry.uri for entry in layout.part_files()]
    if not parts:
        raise RequestError(f"{uri}: the run of {record.job} has no rows yet")
    content = manifest.read(layout.manifest)
    tally = tally_run(record.job, parts, _UNSURE_CARDS)
    pictures = InputPictures(uri, record, allow_http=allow_http)
    return Report(
        title=f"{name_of_job(record.job)}: {name_of(uri)}",
        about=f"{redacted_uri(str(record.model['reference']))} over {redacted_uri(record.input['uri'])}, "
        f"started {record.started}.",
        facts=tuple(_facts(tally, content)),
        notes=run_notes(record, finished=content is not None),
        sections=(
            _scores(record, tally),
            _distributions(record.job, tally),
            _problems(tally),
            Section(
                "Least sure",
                "The answers with the lowest scores: the first to look at, and to label.",
                cards=tuple(_unsure_cards(parts, tally.unsure, pictures)),
            ),
            _all_over(record.job, parts, pictures),
        ),
        manifest=content or {"job": record.job, "command": record.command, "model": record.model},
    )


def _facts(tally: RunTally, content: dict[str, Any] | None) -> Iterator[Fact]:
    yield Fact("rows", f"{tally.rows:,}")
    yield Fact("answered", f"{tally.ok:,}")
    yield Fact("failed", f"{tally.rows - tally.ok:,}")
    if tally.gone:
        yield Fact("gone from the input", f"{tally.gone:,}")
    if tally.matches:
        yield Fact("matches", f"{tally.matches[True]:,}")
    if warned := sum(tally.warnings.values()):
        yield Fact("with a warning", f"{warned:,}")
    if tally.cut:
        yield Fact("cut at the length limit", f"{tally.cut:,}")
    if content and (second := content.get("second_opinion")):
        yield Fact("asked of the second model", f"{second['asked']:,}")
        yield Fact("decided by it", f"{second['decided']:,}")
        yield Fact("both agree", f"{second['agreed']:,}")
    if content and content.get("images"):
        yield Fact("images", f"{content['images']:,}")
    if content and (speed := content.get("throughput", {}).get("rows_per_s")):
        yield Fact("rows/s", f"{speed:,.1f}")


def _scores(record: RunRecord, tally: RunTally) -> Section:
    if not tally.scored:
        return Section("Scores")
    low = tally.scores[EDGES[:-1] < 0.5].sum() / tally.scored
    about = f"{tally.scored:,} scores; {100 * low:.0f} % of them below 0.5."
    plot = histogram("Scores", about, EDGES, {"scores": tally.scores})
    return Section("Scores", str(record.model.get("score_meaning") or ""), plots=(plot,))


def _distributions(job: str, tally: RunTally) -> Section:
    if job == "caption":
        return Section("Captions")
    head = "value" if job in ("tag", "fill") else "answer", "share", "rows"
    title = {"tag": "Tags", "fill": "Fields", "retrieve": "Questions"}.get(job, "Answers")
    if len(tally.pairs) <= _MOST_QUESTIONS or job in ("tag", "fill"):
        bars = tuple(_bars(name, head, counts) for name, counts in tally.pairs.items())
        of = "; shares are of the images that the attribute was asked of" if job == "tag" else ""
        return Section(title, f"How often each was given{of}.", bars=bars)
    every: Counter[str | None] = Counter()
    for counts in tally.pairs.values():
        every.update(counts)
    questions = Counter({question: counts.total() for question, counts in tally.pairs.items()})
    return Section(
        title,
        f"The {len(tally.pairs):,} questions are too many for a table each: all answers, and all questions.",
        bars=(
            _bars("All answers", head, every),
            counted_bars("Questions", ("question", "share", "rows"), questions, questions.total()),
        ),
    )


def _bars(name: str, head: tuple[str, str, str], counts: Counter[str | None]) -> Bars:
    named = {cut_text("(none)" if value is None else value): count for value, count in counts.items()}
    return counted_bars(cut_text(name), head, named, counts.total())


def _problems(tally: RunTally) -> Section:
    codes = counted_bars("Errors", ("code", "share of rows", "rows"), tally.errors, tally.rows, tone="wrong")
    warnings = {cut_text(text): count for text, count in tally.warnings.items()}
    warned = counted_bars("Warnings", ("warning", "share of rows", "rows"), warnings, tally.rows)
    examples = tuple(
        (cut_text(image), code, cut_text(message))
        for code in sorted(tally.examples, key=lambda code: -tally.errors[code])
        for image, message in tally.examples[code]
    )
    table = Table("Examples of errors", ("image", "code", "message"), examples, wide=True)
    return Section(
        "Errors and warnings",
        "" if tally.errors or tally.warnings else "None.",
        bars=tuple(each for each in (codes, warned) if each.bars),
        tables=(table,) if examples else (),
    )


def _unsure_cards(parts: Sequence[str], unsure: Sequence[Unsure], pictures: InputPictures) -> Iterator[Card]:
    keys = list(dict.fromkeys(each.key for each in unsure))
    rows = {key: found[0] for key, found in rows_by_key(parts, keys).items() if found}
    shown = pictures.of(list(rows.values()))
    for each in unsure:
        picture = shown[each.key]
        yield Card(
            title=cut_text(title_of(rows[each.key])),
            image=None if picture.preview is None else picture.preview.jpeg,
            lines=(Line(cut_text(each.question), (ScoredText(cut_text(each.answer or "(none)"), each.score),)),),
            warning=f"no picture: {cut_text(picture.reason)}" if picture.reason else None,
        )


def _all_over(job: str, parts: Sequence[str], pictures: InputPictures) -> Section:
    best = job == "retrieve"
    chosen = choose_rows(parts, _OTHER_CARDS, best_first=best)
    form = read_schema(parts[0])
    maker = CardMaker(job, form.names, tag_attributes(form))
    shown = pictures.of([rows[0] for rows in chosen.images])
    about = "The best matches, and some rows that failed." if best else "Rows at even distances, and some that failed."
    # The tags stand on the card as lines; without a script no card is filtered by them.
    cards = tuple(replace(card, tags=()) for card in run_cards(job, maker, chosen, shown))
    return Section(f"{len(chosen.images):,} of {chosen.total:,} images", about, cards=cards)
