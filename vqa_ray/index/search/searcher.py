"""Search in an index: exact where that is quick, otherwise approximate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vqa_ray.errors import RequestError, one_line
from vqa_ray.index.ann.build import ERRORS
from vqa_ray.index.ann.nearest import AnnIndex, open_ann
from vqa_ray.index.reader import Index
from vqa_ray.index.search import approximate
from vqa_ray.index.search.candidates import Candidates, Mask
from vqa_ray.index.search.exact import nearest
from vqa_ray.index.search.scoring import Query, Scorer, Scores
from vqa_ray.index.search.top_k import Ids

__all__ = ["Hits", "Query", "SearchMethod", "Searcher"]

logger = logging.getLogger(__name__)

# An exact search of fewer images takes moments.
FEW_IMAGES = 20_000


@dataclass(frozen=True, slots=True)
class SearchMethod:
    """The method of a search.

    Attributes:
        exact: whether every image was compared; otherwise an approximate index was queried.
        parameters: of the approximate index.
        recall: its mean recall@`recall_k` over `recall_queries` queries; None where it was not measured.
        recall_queries, recall_k: of the measurement.
    """

    exact: bool
    parameters: Mapping[str, int] = field(default_factory=dict)
    recall: float | None = None
    recall_queries: int = 0
    recall_k: int = 0

    def __str__(self) -> str:
        """`exact search`, or `approximate search` with its parameters and its recall."""
        if self.exact:
            return "exact search"
        parameters = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        if self.recall is None:
            return f"approximate search ({parameters}; recall not measured)"
        if not self.recall_queries:
            return f"approximate index without partitions: each image compared ({parameters})"
        measured = f"recall@{self.recall_k} {self.recall:.3f} over {self.recall_queries} queries"
        return f"approximate search ({parameters}; {measured})"


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of a search.

    Attributes:
        positions: int64 (K,), rows of the index; the highest score first, of equal ones the smallest row_id.
        scores: float32 (K,).
        images: the number of images that were searched: with a vector, each once, after the filter.
        method: exact or approximate.
    """

    positions: Ids
    scores: Scores
    images: int
    method: SearchMethod


class Searcher:
    """Searches one version of an index.

    Args:
        index: to search.
        hold: keep the vectors in memory after the first exact search, for many searches.
    """

    def __init__(self, index: Index, *, hold: bool = False) -> None:
        self._index = index
        self._candidates = Candidates(index, hold=hold)

    def search(self, query: Query, *, top_k: int, filter: Mask | None = None, exact: bool | None = None) -> Hits:
        """Search for the images most similar to a query.

        Args:
            query: a text, an image or both.
            top_k: hits wanted, at least 1.
            filter: bool (rows,), by position: rows that may be hits; None for all.
            exact: whether to compare every image; None chooses by the number of images.

        Raises:
            RequestError: the query does not match the index, or `exact` is False without an approximate index.
        """
        version = self._index.version
        scorer = Scorer(query, version.vectors, version.dimension)
        if filter is not None and filter.shape != (version.rows,):
            raise RequestError(f"the filter has {len(filter)} rows, the index {version.rows}")
        mask = self._candidates.mask(filter)
        images = int(np.count_nonzero(mask))
        k = min(top_k, max(1, images))
        if self._uses_approximate(images, exact):
            fetched = self._approximately(scorer, mask, k)
            if fetched is not None:
                method = SearchMethod(False, fetched.parameters, *self._recall())
                return Hits(fetched.best.positions, fetched.best.scores, images, method)
        best = nearest(scorer, self._candidates.blocks(mask), k)
        return Hits(best.positions, best.scores, images, SearchMethod(True))

    @cached_property
    def _ann(self) -> AnnIndex | None:
        """The approximate index, opened at first use; None where search is exact."""
        return open_ann(self._index.layout, self._index.version)

    def _approximately(self, scorer: Scorer, mask: Mask, k: int) -> approximate.ApproximateHits | None:
        """Query the approximate index; None where the search must be exact."""
        assert self._ann is not None
        try:
            return approximate.nearest(self._ann, scorer, self._candidates.ids, mask, k)
        except ERRORS as error:
            reason = one_line(error, 200)
            logger.warning("%s: search is exact, because the approximate index failed (%s)", self._index.uri, reason)
            return None

    def _recall(self) -> tuple[float | None, int, int]:
        """Return the recall as measured when the approximate index was built."""
        state = self._index.version.ann
        return (None, 0, 0) if state is None else (state.recall, state.recall_queries, state.recall_k)

    def _uses_approximate(self, images: int, exact: bool | None) -> bool:
        """Whether a search of so many images uses the approximate index.

        Raises:
            RequestError: `exact` is False without an approximate index.
        """
        if exact or (exact is None and images < FEW_IMAGES):
            return False
        if self._ann is None and exact is False:
            raise RequestError(f"{self._index.uri}: the index has no approximate index")
        return self._ann is not None
