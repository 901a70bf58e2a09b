"""The page of a training: curves, accuracy by answer type, confusion, and how to do it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vqa_ray.durations import duration
from vqa_ray.report import charts as curves
from vqa_ray.report.charts import Chart, Series, chart
from vqa_ray.report.gallery import Fact
from vqa_ray.report.templates import environment
from vqa_ray.report.training_summary import Confusion, Trained, without_credentials
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.uri import redacted_uri
from vqa_ray.training.log import TrainingLog, ValidationRecord

MOST_ANSWERS = 20
_MOST_TYPES = 7
_ELIDED_CHARACTERS = 16
_ELSE = "another"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as a heading: short, and whole."""

    short: str
    full: str


@dataclass(frozen=True, slots=True)
class Cell:
    """How often an answer was given where another, or the same, was right."""

    count: int
    share: float
    right: bool
    text: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """The rows of one true answer."""

    answer: Answer
    total: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class TypeRow:
    """The accuracy over one answer type: in 0..1, the mean of `rows` answers."""

    name: str
    accuracy: float
    rows: int | None


def render_training(trained: Trained) -> str:
    """Return the page as HTML text. All text is escaped, whatever it holds.

    Raises:
        RequestError: Jinja2 is not installed.
    """
    templates = environment("vqa_ray.report", "the page of a training")
    templates.filters["shown"] = without_credentials
    return templates.get_template("training.html.j2").render(
        trained=trained,
        facts=facts(trained),
        charts=charts(trained.log, trained.words.measure, trained.loss_unit),
        box=curves,
        types=type_rows(trained.exported_validation, trained.words.whole),
        words=trained.words,
        given=_given(trained.confusion),
        heat=heat_rows(trained.confusion),
        input=redacted_uri(trained.data.uri),
    )


def write_training(uri: str, trained: Trained) -> None:
    """`render_training` into one file at `uri`, at once or not at all."""
    # Answers may hold lone surrogates, which UTF-8 cannot write.
    write_bytes_atomic(uri, render_training(trained).encode("utf-8", "replace"))


def facts(trained: Trained) -> list[Fact]:
    """Return the numbers above everything else, the most telling first."""
    log, data, validation = trained.log, trained.data, trained.exported_validation
    found = []
    if validation is not None:
        where = f"validation {trained.words.measure}, step {validation.step:,} (epoch {validation.epoch + 1})"
        found.append(Fact(where, f"{100 * validation.accuracy:.1f} %"))
    if log.best is not None and (validation is None or log.best.accuracy > validation.accuracy):
        found.append(Fact(f"best on the way, at step {log.best.step:,}", f"{100 * log.best.accuracy:.1f} %"))
    found += [
        Fact("rows to train on", f"{data.rows:,}"),
        Fact("rows to validate on", f"{data.validation_rows:,}"),
        *([Fact("answers", f"{data.answers:,}")] if data.answers else []),
        Fact("steps", f"{log.steps:,}"),
        Fact("time", duration(trained.duration_s)),
        Fact("samples/s", f"{log.samples_per_s:,.0f}" if log.samples_per_s >= 10 else f"{log.samples_per_s:.2g}"),
    ]
    return found


def charts(log: TrainingLog, measure: str = "accuracy", loss_unit: str = "row") -> list[Chart]:
    """Draw loss, accuracy (by answer type where there are several) and learning rate, where they have points."""
    validations = log.validations
    learned = [record for record in log.train if record.samples]
    kinds = sorted({kind for record in validations for kind in record.accuracy_by_type})
    # The types with the most rows, as far as there are colours.
    rows = {kind: max(record.rows_by_type.get(kind, 0) for record in validations) for kind in kinds}
    kinds = sorted(sorted(kinds, key=lambda kind: -rows[kind])[:_MOST_TYPES], key=natural)
    by_type = [
        Series(
            kind,
            [(record.step, record.accuracy_by_type[kind]) for record in validations if kind in record.accuracy_by_type],
            dots=True,
        )
        for kind in kinds
    ]
    overall = Series("all", [(record.step, record.accuracy) for record in validations], dots=True)
    found = [
        chart(
            "loss",
            f"Loss per {loss_unit}",
            [
                Series("training", [(record.step, record.loss) for record in learned], noisy=True),
                Series("validation", [(record.step, record.loss) for record in validations], dots=True),
            ],
            falls=True,
        ),
        chart("accuracy", f"Validation {measure}", [overall, *(by_type if len(by_type) > 1 else [])], percent=True),
        chart(
            "rate", "Learning rate", [Series("encoder", [(record.step, record.learning_rate) for record in log.train])]
        ),
    ]
    return [each for each in found if each is not None]


def type_rows(validation: ValidationRecord | None, whole: str = "all") -> list[TypeRow]:
    """One row per answer type, then one for all, which is called `whole`."""
    if validation is None:
        return []
    kinds = sorted(validation.accuracy_by_type, key=natural)
    by_type = [TypeRow(kind, validation.accuracy_by_type[kind], validation.rows_by_type.get(kind)) for kind in kinds]
    return [*by_type, TypeRow(whole, validation.accuracy, validation.rows)]


def heat_rows(confusion: Confusion | None, limit: int = MOST_ANSWERS) -> list[HeatRow]:
    """Return the confusion of the first `limit` answers; what was given beyond them is counted under another answer."""
    if confusion is None:
        return []
    names = [answer.full for answer in _given(confusion, limit)]
    heat = []
    for index, label in enumerate(confusion.labels[:limit]):
        counted = [int(count) for count in confusion.counts[index]]
        counts = [*counted[:limit], sum(counted[limit:])][: len(names)]
        total = sum(counted)
        cells = [
            Cell(
                count,
                count / total if total else 0.0,
                number == index,
                f"{label}, answered {name}: {count:,} of {total:,}",
            )
            for number, (count, name) in enumerate(zip(counts, names, strict=True))
        ]
        heat.append(HeatRow(_answer(label), total, tuple(cells)))
    return heat


def natural(name: str) -> tuple[str, int]:
    """Return a key by which `recall@5` comes before `recall@10`."""
    words, _, number = name.rpartition("@")
    return (words, int(number)) if number.isdecimal() else (name, 0)


def elided(text: str) -> str:
    """`text` on one line of at most `_ELIDED_CHARACTERS`; its end may be cut."""
    flat = " ".join(text.split()) or "(empty)"
    return flat if len(flat) <= _ELIDED_CHARACTERS else f"{flat[: _ELIDED_CHARACTERS - 1].rstrip()}…"


def _given(confusion: Confusion | None, limit: int = MOST_ANSWERS) -> Sequence[Answer]:
    """Return the headings of the columns."""
    if confusion is None:
        return []
    columns = [_answer(label) for label in confusion.labels[:limit]]
    more = confusion.counts.shape[1] > len(columns)
    return [*columns, Answer(_ELSE, "another answer")] if more else columns


def _answer(text: str) -> Answer:
    return Answer(elided(text), text)
