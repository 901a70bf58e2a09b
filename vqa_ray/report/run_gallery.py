"""The gallery of a finished run: some of its images with their results, and some error rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.readers import Source
from vqa_ray.report.card import Card, Line, ScoredText
from vqa_ray.report.chosen_rows import ChosenRows, choose_rows
from vqa_ray.report.gallery import DEFAULT_CARDS, Fact, Header, write_gallery
from vqa_ray.report.row_cards import CardMaker, Tag, name_of_job, tag_attributes
from vqa_ray.report.row_pictures import RowPicture, row_pictures
from vqa_ray.runs.part_files import read_schema

_MOST_LINES = 16
_MOST_TAGS = 40
_LONGEST_TEXT = 600
# A longer text of a field is no tag to filter by.
_LONGEST_TAG = 40


def write_run_gallery(
    uri: str,
    job: str,
    parts: Sequence[str],
    *,
    source: Source,
    fetcher: ImageFetcher,
    about: str,
    limit: int = DEFAULT_CARDS,
) -> int:
    """Write the gallery of a run of `answer`, `fill`, `tag`, `caption` or `retrieve` to one HTML file.

    The page has a bounded number of cards of bounded length: the best matches of `retrieve`, rows from all over the run
    of other jobs, and some error rows.

    Args:
        uri: the HTML file.
        job: the command of the run.
        parts: at least one part file of the run.
        source: the opened input of the run, for embedded images.
        fetcher: of images with a URI.
        about: a sentence about the run.
        limit: images to show.

    Returns:
        The number of images on the page.

    Raises:
        RequestError: Jinja2 is not installed.
        OSError: the file cannot be written.
    """
    chosen = choose_rows(parts, limit, best_first=job == "retrieve")
    pictures = row_pictures([rows[0] for rows in chosen.images], source, fetcher)
    form = read_schema(parts[0])
    maker = CardMaker(job, form.names, tag_attributes(form))
    counts = (("images", chosen.total), ("failed", chosen.failed), ("gone from the input", chosen.gone))
    facts = tuple(Fact(name, f"{count:,}") for name, count in counts if count or name == "images")
    header = Header(f"vqa-ray {name_of_job(job)}", about, chosen.total, facts)
    write_gallery(uri, header, run_cards(job, maker, chosen, pictures), limit)
    return len(chosen.images)


def run_cards(job: str, maker: CardMaker, chosen: ChosenRows, pictures: Mapping[int, RowPicture]) -> Iterator[Card]:
    """Make the card of each chosen image, its texts cut to a readable length.

    Args:
        job: the command of the run.
        maker: of the cards of its rows.
        chosen: what to show.
        pictures: of the chosen images, by source_key.
    """
    for rows in chosen.images:
        picture = pictures[rows[0]["source_key"]]
        row = _joined(rows) if "question" in rows[0] or job == "instruct" else rows[0]
        card = maker.card(row)
        tags = maker.tags(row) if job in ("tag", "fill") else ()
        filters = tags if job == "tag" else [tag for tag in tags if len(tag.value) <= _LONGEST_TAG]
        lines = (*_tag_lines(tags), *_verdict_lines(maker, row), *card.lines)
        warning = card.warning
        if picture.reason and card.error_code is None:
            warning = "; ".join(filter(None, (warning, f"no picture: {picture.reason}")))
        yield replace(
            card,
            title=cut_text(card.title),
            image=None if picture.preview is None else picture.preview.jpeg,
            image_size=None if picture.preview is None else picture.preview.size,
            tags=tuple(cut_text(f"{tag.attribute}:{tag.value}" if tag.attribute else tag.value) for tag in filters)[
                :_MOST_TAGS
            ],
            lines=_bounded(lines if lines or card.error_code or job != "tag" else (Line("tags"),)),
            boxes=card.boxes[:_MOST_TAGS],
            error_message=None if card.error_message is None else cut_text(card.error_message),
            warning=None if warning is None else cut_text(warning),
        )


def _joined(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join the rows of an image's questions into one row with `results`; an error row if one of them is."""
    first = next((row for row in rows if row["error_code"] is not None), rows[0])
    warnings = dict.fromkeys(row["warning"] for row in rows if row["warning"])
    return {**first, "warning": "; ".join(warnings) or None, "results": list(rows)}


def _tag_lines(tags: Sequence[Tag]) -> Iterator[Line]:
    by_attribute: dict[str, list[ScoredText]] = {}
    for tag in tags:
        by_attribute.setdefault(tag.attribute, []).append(ScoredText(tag.value, tag.score))
    yield from (Line(name, tuple(values)) for name, values in by_attribute.items())


def _verdict_lines(maker: CardMaker, row: Mapping[str, Any]) -> Iterator[Line]:
    verdict = maker.verdict(row)
    if verdict is None or verdict.error is not None:
        return
    yield Line("match", (ScoredText("yes" if verdict.match else "no", verdict.score),))
    yield from verdict.lines


def _bounded(lines: Sequence[Line]) -> tuple[Line, ...]:
    shown = tuple(
        replace(
            line,
            label=cut_text(line.label),
            values=tuple(replace(each, text=cut_text(each.text)) for each in line.values),
        )
        for line in lines[:_MOST_LINES]
    )
    more = len(lines) - len(shown)
    return (*shown, Line("…", (ScoredText(f"{more:,} more in the Parquet files"),))) if more else shown


def cut_text(text: str) -> str:
    """Return a text that a card has room for."""
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
