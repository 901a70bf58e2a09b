"""Sentences on a page about the rows that it shows."""

from __future__ import annotations

from vqa_ray.browse.dataset import Collection
from vqa_ray.browse.search import SearchHits
from vqa_ray.browse.url_state import UrlState
from vqa_ray.report.row_cards import name_of_job
from vqa_ray.schema import STATUS_ERROR, STATUS_GONE
from vqa_ray.storage.uri import redacted_uri


def name_of(uri: str) -> str:
    """Return the last part of a URI, as a short name."""
    return redacted_uri(uri).rstrip("/").rpartition("/")[2] or redacted_uri(uri)


def describe_collection(collection: Collection) -> str:
    """Describe a collection: its URI, its kind and its row counts."""
    what = "index" if collection.job == "index" else f"results of {name_of_job(collection.job)}"
    version = f", version {collection.index.version.number}" if collection.index else ""
    counts = (collection.count(STATUS_ERROR), "in error"), (collection.count(STATUS_GONE), "gone from the input")
    failed = "".join(f", {count:,} {state}" for count, state in counts if count)
    return (
        f"{redacted_uri(collection.uri)}: {what}{version}, {len(collection):,} rows{failed}, "
        f"model {redacted_uri(collection.model)}"
    )


def describe_results(collection: Collection, view: UrlState, total: int, hits: SearchHits | None) -> str:
    """Summarise the `total` rows that match a view."""
    if hits is None:
        of = "" if total == len(collection) else f" of {len(collection):,}"
        return f"{total:,}{of} rows" if total != 1 or of else "1 row"
    line = f"{total:,} of {hits.images:,} images" if total != hits.images else f"{total:,} images"
    line += f", most similar first; {hits.method}"
    if hits.verdicts is not None:
        matches = sum(bool(each.match) for each in hits.verdicts)
        failed = sum(bool(each.error) for each in hits.verdicts)
        line = f"{matches:,} of the {total:,} most similar match" if not view.only else f"{matches:,} match"
        line += f", {failed:,} could not be verified" if failed else ""
        line += f"; of {hits.images:,} images, {hits.method}"
    return line


def explain_unused(view: UrlState, can_search_similar: bool) -> tuple[str, ...]:
    """Say which parts of a view have no effect on its rows."""
    if view.verify and not view.is_search:
        how = "describe images or search by one" if can_search_similar else "this page has none"
        return (f"Nothing was verified, since Verify is for the hits of a similarity search: {how}.",)
    return ("“matches only” has no effect without a question to verify.",) if view.only and not view.verify else ()


def explain_empty(collection: Collection, view: UrlState) -> str:
    """Say why a view has no rows."""
    if not len(collection):
        return "Empty: it holds no rows yet."
    if view.only and view.verify:
        return "None of the best hits matches the question."
    if view.selected or view.words:
        return "No row matches."
    return "No image can be searched: every row is in error."
