"""The rows that a page shows, of an index or of a run, with their facets and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.browse.embedded import EmbeddedImages, ImagesOfIndex, ImagesOfRun
from vqa_ray.browse.facets import Facets, find_facets
from vqa_ray.browse.originals import Originals
from vqa_ray.browse.scores import Scores, scores_of
from vqa_ray.browse.text_filter import with_valid_text
from vqa_ray.browse.thumbnails import Thumbnails
from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import Index, open_index
from vqa_ray.index.search.tags import join_tags
from vqa_ray.report.row_cards import WRITERS, CardMaker, tag_attributes
from vqa_ray.report.run_notes import run_notes
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.python_rows import python_rows
from vqa_ray.storage.store_errors import store_failures, store_reason

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Collection:
    """The rows of an index or of a run, ready to be shown; immutable.

    Attributes:
        uri: of the index or the run.
        job: the command that wrote the rows, `index` included.
        model: its reference.
        rows: all rows; their text is valid UTF-8.
        order: int64 (N,), the positions in the order in which they are shown without a search.
        cards: makes cards of rows.
        facets: what rows can be filtered by.
        thumbnails: of the rows, from an index.
        originals: the images of the rows.
        scores: float32 (N,), to sort by, NaN for none; None where rows have no scores.
        index: what is searched; None for a run.
        notes: remarks to show above the rows, one line each.
    """

    uri: str
    job: str
    model: str
    rows: pa.Table
    order: Positions
    cards: CardMaker
    facets: Facets
    thumbnails: Thumbnails
    originals: Originals
    scores: Scores | None = None
    index: Index | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def count(self, status: str) -> int:
        """Count the rows of a status."""
        return int(pc.sum(pc.equal(self.rows["status"], status)).as_py() or 0)

    def take(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Rows by position, in the given order."""
        return python_rows(self.rows.take(pa.array(positions, pa.int64())))


def open_collection(
    uri: str, *, tags: str | None = None, index: str | None = None, allow_http: bool = False
) -> Collection:
    """Read an index or a run.

    Args:
        uri: of an index, or of a run of `answer`, `tag`, `caption` or `retrieve`.
        tags: a finished run of `tag` over the same images, whose tags join the rows.
        index: an index of the same images, for the thumbnails of a run.
        allow_http: whether images are fetched from http:// and https:// URIs.

    Raises:
        RequestError: `uri` is neither an index nor a run, cannot be read, or does not go with an option.
    """
    require_directory(uri, uri, "an index, or a run of answer, tag, caption or retrieve")
    try:
        if IndexDirectory(uri).version_numbers():
            if index is not None:
                raise RequestError(f"--index {index}: {uri} is an index itself; --index is for the results of a run")
            return _of_index(open_index(uri), tags, allow_http)
        record = RunRecord.read(RunDirectory(uri).record)
        if record is None:
            raise RequestError(
                f"{uri}: neither an index nor the results of a run; expected an index, or a run of answer, tag, "
                "caption or retrieve"
            )
        return _of_run(uri, record, tags, index, allow_http)
    except store_failures(pa.ArrowException) as error:
        raise RequestError(f"{uri}: cannot be read: {store_reason(error, named=True)}") from error


def _of_index(index: Index, tags: str | None, allow_http: bool) -> Collection:
    version = index.version
    rows = _with_tags(index.rows(), tags)
    order = np.arange(rows.num_rows, dtype=np.int64)
    thumbnails = Thumbnails(index, order) if "thumbnail" in index.columns else Thumbnails()
    model = str(version.model["reference"])
    derived = _derived("index", rows, _fetch(allow_http), ImagesOfIndex(index))
    return Collection(index.uri, "index", model, **derived, order=order, thumbnails=thumbnails, index=index)


def _of_run(uri: str, record: RunRecord, tags: str | None, index: str | None, allow_http: bool) -> Collection:
    if record.job not in WRITERS:
        known = ", ".join(job for job in WRITERS if job not in ("index", "fill"))
        raise RequestError(f"{uri}: a run of {record.job}; supported are indexes and runs of {known}")
    layout = RunDirectory(uri)
    parts = [read_columns(entry.uri).replace_schema_metadata(None) for entry in layout.part_files()]
    if not parts:
        raise RequestError(f"{uri}: the run of {record.job} has no rows yet")
    if record.job == "instruct":
        # Images are read again one by one, where they are looked at.
        parts = [part.drop_columns(["image"]) for part in parts]
    rows = _with_tags(pa.concat_tables(parts), tags)
    notes = run_notes(record, finished=manifest.read(layout.manifest) is not None)
    order = np.arange(rows.num_rows, dtype=np.int64)
    if record.job == "retrieve":
        # -1 for rows without a score: images that certainly do not match, and errors.
        scores = rows["score"].combine_chunks().fill_null(-1.0).to_numpy()
        order = np.lexsort((rows["row_id"].to_numpy(), -scores)).astype(np.int64)
    thumbnails = Thumbnails()
    if index is not None:
        opened = open_index(index, label=f"--index {index}")
        thumbnails = Thumbnails.of_rows(opened, rows)
        notes += (
            () if thumbnails.found else (f"No row is in the index {index} by its row_id or image_id: no pictures.",)
        )
    fetch = _fetch(allow_http)
    derived = _derived(record.job, rows, fetch, ImagesOfRun(uri, record, rows, fetch, allow_hub=allow_http))
    model = str(record.model["reference"])
    return Collection(uri, record.job, model, **derived, order=order, thumbnails=thumbnails, notes=notes)


def _fetch(allow_http: bool) -> Callable[[str], bytes]:
    return ImageFetcher(ImageLimits().max_image_bytes, allow_http=allow_http).fetch


def _derived(job: str, rows: pa.Table, fetch: Callable[[str], bytes], embedded: EmbeddedImages) -> dict[str, Any]:
    """Return the fields of a collection that are derived from its rows."""
    valid = with_valid_text(rows)
    cards = CardMaker(job, valid.column_names, tag_attributes(valid.schema))
    originals = Originals(valid, fetch, embedded)
    found = {"facets": find_facets(valid), "originals": originals, "scores": scores_of(job, valid)}
    return {"rows": valid, "cards": cards, **found}


def _with_tags(rows: pa.Table, tags: str | None) -> pa.Table:
    if tags is None:
        return rows
    columns = join_tags(rows, tags).columns
    for name in columns.column_names:
        rows = rows.append_column(name, columns[name])
    return rows
