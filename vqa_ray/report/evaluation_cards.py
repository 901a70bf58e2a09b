"""Cards of the rows of an evaluation, with the pictures of the run that it judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.report.card import Card, Line, ScoredText
from vqa_ray.report.input_pictures import InputPictures
from vqa_ray.report.row_pictures import RowPicture, row_pictures
from vqa_ray.report.run_gallery import cut_text
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.filesystem import exists, read_bytes
from vqa_ray.storage.store_errors import store_failures

Row = Mapping[str, Any]


def evaluation_cards(
    rows: Sequence[Row], predictions: str, *, by: Sequence[str] = (), allow_http: bool = False
) -> Iterator[Card]:
    """Make a card of each row: the question with what was answered, its score, and the truth.

    Args:
        rows: of an evaluation, whole.
        predictions: URI of the run.
        by: columns to show beside it.
        allow_http: whether images are fetched from the web.
    """
    pictures = pictures_of(rows, predictions, allow_http)
    for row, picture in zip(rows, pictures, strict=True):
        prediction = row["prediction"]
        values = () if prediction is None else (ScoredText(cut_text(prediction or "(empty)"), row["confidence"]),)
        asked = " · ".join(text for text in (row.get("question"), row.get("attribute")) if text)
        lines = [Line(cut_text(asked or "answer"), values, cut_text(row["truth"] or "(unknown)"), row["score"] >= 0.5)]
        if row["read_as"] is not None and row["read_as"] != prediction:
            lines.append(Line("read as", (ScoredText(cut_text(row["read_as"])),)))
        lines += [Line(name, (ScoredText(cut_text(str(row[name]))),)) for name in by if row.get(name) is not None]
        yield Card(
            title=cut_text(row.get("image_id") or row["key"]),
            image=None if picture.preview is None else picture.preview.jpeg,
            lines=tuple(lines),
            warning=f"no picture: {cut_text(picture.reason)}" if picture.reason else None,
        )


def run_of(uri: str, record: EvaluationRecord) -> str:
    """Return the URI of the predictions of an evaluation: as its request holds it, or else as its record shows it.

    Args:
        uri: of the evaluation.
        record: its record, whose URIs are shortened for people.
    """
    try:
        return str(json.loads(read_bytes(EvaluationDirectory(uri).request))["request"]["predictions"])
    except store_failures(ValueError, KeyError, TypeError):
        return record.predictions


def pictures_of(rows: Sequence[Row], predictions: str, allow_http: bool) -> list[RowPicture]:
    """Read the pictures of rows: from their `image_uri`, else from the input of the run by `image_id`.

    Args:
        rows: with `image_id` and `image_uri`.
        predictions: URI of the run.
        allow_http: whether images are fetched from the web.
    """
    fetcher = ImageFetcher(ImageLimits().max_image_bytes, allow_http=allow_http)
    by_uri = [
        {"source_key": number, "image_uri": row["image_uri"]} for number, row in enumerate(rows) if row["image_uri"]
    ]
    found = row_pictures(by_uri, None, fetcher)
    ids = {row["image_id"] for row in rows if not row["image_uri"] and row["image_id"] is not None}
    embedded, reason = _embedded(ids, predictions, allow_http) if ids else ({}, "")
    missing = RowPicture(reason=reason or "the run has no image of this name")
    return [found.get(number) or embedded.get(row["image_id"], missing) for number, row in enumerate(rows)]


def _embedded(ids: set[str], predictions: str, allow_http: bool) -> tuple[dict[str, RowPicture], str]:
    """Read pictures by image_id through the input of the run; a sentence says why none can be."""
    layout = RunDirectory(predictions)
    try:
        record = RunRecord.read(layout.record) if exists(layout.record) else None
        if record is None:
            return {}, "the predictions are no run, and name no image_uri"
        keys: dict[str, int] = {}
        for entry in layout.part_files():
            table = read_columns(entry.uri, ("image_id", "source_key"))
            table = table.filter(pc.is_in(table["image_id"], value_set=pa.array(sorted(ids), pa.string())))
            keys |= zip(table["image_id"].to_pylist(), table["source_key"].to_pylist(), strict=True)
    except store_failures(RequestError) as error:
        return {}, f"the run cannot be read: {error}"
    shown = InputPictures(predictions, record, allow_http=allow_http).of([{"source_key": key} for key in keys.values()])
    return {image_id: shown[key] for image_id, key in keys.items()}, ""
