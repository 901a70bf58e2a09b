"""The outcome of a search: the header of its output, a sentence, and a few lines on standard error."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from vqa_ray import __version__
from vqa_ray.index.reader import Index
from vqa_ray.index.search.hits import conflicting_row_ids
from vqa_ray.index.search.searcher import Hits
from vqa_ray.index.search.tags import JoinedTags
from vqa_ray.index.search.verify import Verified
from vqa_ray.jobs.search.spec import SearchSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.storage.uri import redacted_uri

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished search.

    Attributes:
        spec: the request.
        index, model: where it searched, and with what.
        tagged: the tags joined to the rows; None for none.
        found: the hits before verification.
        verified: the verdicts of a VQA model; None without verification.
        hits: the final hits; see `vqa_ray.index.search.hits.hits_table`.
    """

    spec: SearchSpec
    index: Index
    model: Checkpoint
    tagged: JoinedTags | None
    found: Hits
    verified: Verified | None
    hits: pa.Table

    @property
    def header(self) -> dict[str, Any]:
        """Describe request, index, model and method, for JSON and the metadata of Parquet."""
        spec, version, verified = self.spec, self.index.version, self.verified
        query = {"text": spec.text, "image": spec.image and redacted_uri(spec.image)}
        return {
            "version": __version__,
            "job": "search",
            "query": {**query, "filter": spec.filter, "tags": spec.tags, "top_k": spec.top_k},
            "index": {"uri": self.index.uri, "version": version.number, "rows": version.rows, "images": version.ok},
            "model": self.model.record(self.model.similarity_meaning),
            "search": {"images": self.found.images, **asdict(self.found.method)},
            "verification": None
            if verified is None
            else {
                "expression": spec.verify,
                "model": spec.verify_model,
                "calibration": spec.calibration,
                "threshold": spec.threshold,
                "combine": spec.combine,
                "candidates": verified.table.num_rows,
                "matched": verified.matched,
                "rejected": verified.rejected,
                "failed": verified.failed,
            },
        }

    @property
    def about(self) -> str:
        """Write a sentence: the query, the index, the method."""
        spec = self.spec
        query = [*([f"“{spec.text}”"] if spec.text else []), *([redacted_uri(spec.image)] if spec.image else [])]
        where = f" where {spec.filter}" if spec.filter else ""
        verified = f", verified: {spec.verify} ({spec.verify_model})" if spec.verify else ""
        return f"{' and '.join(query)} in {self.index.uri}{where}, {self.found.method}{verified}."

    def log(self) -> None:
        """Log what a person should know of the hits."""
        spec, found, verified = self.spec, self.found, self.verified
        logger.info("%d hits of %d images, %s", self.hits.num_rows, found.images, found.method)
        if self.tagged is not None:
            logger.info("%d of %d rows of the index are tagged in %s", self.tagged.matched, len(self.index), spec.tags)
        if found.images < spec.top_k:
            which = "that fit --filter" if spec.filter else "in the index"
            logger.warning("--top-k %d: there are only %d images %s", spec.top_k, found.images, which)
        if verified is not None:
            logger.info(
                "%d of %d candidates verified (%s): %d fit, %d do not",
                verified.table.num_rows,
                len(found.positions),
                spec.verify_model,
                verified.matched,
                verified.rejected,
            )
            if verified.failed:
                logger.warning("%d candidates could not be verified: see their error_code", verified.failed)
            if verified.matched < spec.top_k and found.images > len(found.positions):
                logger.warning(
                    "%d of %d hits wanted fit; --candidates above %d may find more",
                    verified.matched,
                    spec.top_k,
                    len(found.positions),
                )
        for row_id in conflicting_row_ids(self.hits):
            logger.warning("row_id %d stands for several different images among the hits", row_id)
