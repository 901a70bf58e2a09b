"""Similarity search in an index for the page, and verification of the hits by a VQA model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vqa_ray.browse.text_filter import Mask
from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.index.reader import Index
from vqa_ray.index.search.query import decode_image, query_of
from vqa_ray.index.search.scoring import Query
from vqa_ray.index.search.searcher import Searcher
from vqa_ray.index.search.verify import Verification, Verifier
from vqa_ray.index.source_images import SourceImages
from vqa_ray.index.vectors import as_matrix
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import Encoder, VqaModel
from vqa_ray.predicates.predicate import Predicate
from vqa_ray.report.row_cards import Verdict, verdict_of

# Hits of a search without verification, over all pages; and hits that are verified.
MOST_HITS = 240
MOST_VERIFIED = 48

Parse = Callable[[str], Predicate]
"""Parses an expression; raises RequestError."""


@dataclass(frozen=True, slots=True)
class VisualQuery:
    """A query by text, by image, by a row of the index, or by a combination of them.

    Attributes:
        text: a description; empty for none.
        image: an encoded image; None for none.
        like: the position of a row; None for none.
    """

    text: str = ""
    image: bytes | None = field(default=None, repr=False)
    like: int | None = None


@dataclass(frozen=True, slots=True)
class SearchHits:
    """Hits, best first. Verified hits: first the matches, then those that could not be verified, then the others.

    Attributes:
        positions: int64 (K,), of the rows.
        scores: float32 (K,), similarities.
        images: the number of images that were searched.
        method: exact or approximate search, in words.
        verdicts: of the VQA model on each hit; None without verification.
    """

    positions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    images: int
    method: str
    verdicts: tuple[Verdict, ...] | None = None


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """The VQA model that verifies hits.

    Attributes:
        model: its reference and loading options.
        parse: parses expressions for it.
        allow_http: whether images are fetched from http:// and https://.
    """

    model: ModelOptions
    parse: Parse
    allow_http: bool = False


class Finder:
    """Searches an index. It loads its models at first use, and serves one thread at a time.

    Args:
        index: to search.
        encoder: the model of the index.
        limits: of a query image.
        verifier: the VQA model; None for no verification.
    """

    def __init__(
        self,
        index: Index,
        encoder: ModelOptions,
        limits: ImageLimits,
        verifier: VerifierConfig | None = None,
    ) -> None:
        self._index = index
        self._searcher = Searcher(index, hold=True)
        self._transform = encoder.checkpoint.transform
        self._options = encoder
        self._encoder: Encoder | None = None
        self._limits = limits
        self._verifier = verifier
        self._model: VqaModel | None = None

    def load(self) -> None:
        """Load the encoder.

        Raises:
            ModelLoadError: it cannot be loaded.
        """
        if self._encoder is None:
            self._encoder = self._options.load_encoder()

    def find(self, query: VisualQuery, among: Mask, expression: str = "") -> SearchHits:
        """Search for the rows most similar to a query.

        Args:
            query: to search by.
            among: bool (N,), the rows that may be hits.
            expression: to verify the best hits with; empty for no verification.

        Raises:
            RequestError: an image that cannot be decoded, a row without a vector, an expression that does not parse.
        """
        predicate = self._predicate(expression) if expression else None
        top_k = MOST_HITS if predicate is None else MOST_VERIFIED
        hits = self._searcher.search(self._vectors(query), top_k=top_k, filter=among)
        found = SearchHits(hits.positions, hits.scores, hits.images, str(hits.method))
        return found if predicate is None or not len(found.positions) else self._verified(found, predicate)

    def _vectors(self, query: VisualQuery) -> Query:
        like = None if query.like is None else self._row_vector(query.like)
        if not query.text and query.image is None:
            return Query(image=like)
        self.load()
        assert self._encoder is not None
        image = None if query.image is None else decode_image(query.image, self._transform, self._limits)
        vectors = query_of(self._encoder, query.text or None, image)
        return vectors if like is None else Query(vectors.text, like)

    def _row_vector(self, position: int) -> npt.NDArray[np.float32]:
        if not 0 <= position < len(self._index):
            raise RequestError(f"no row {position}: the index has {len(self._index)}")
        column = self._index.take([position], ["embedding"])["embedding"]
        if column.null_count:
            raise RequestError("this row has no vector, since its image could not be read")
        vector: npt.NDArray[np.float32] = as_matrix(column, self._index.version.width)[0]
        return vector

    def _predicate(self, expression: str) -> Predicate:
        if self._verifier is None:
            raise RequestError("verification is not available: start vqa-ray browse with --verify-model")
        return self._verifier.parse(as_expression(expression))

    def _verified(self, found: SearchHits, predicate: Predicate) -> SearchHits:
        assert self._verifier is not None
        config = self._verifier
        if self._model is None:
            self._model = config.model.load()
        verification = Verification(config.model, predicate, allow_http=config.allow_http, loaded=self._model)
        positions: Sequence[int] = found.positions.tolist()
        verified = Verifier(verification, SourceImages(self._index))(positions, len(positions))
        verdicts = [verdict_of(row) for row in verified.table.to_pylist()]
        order = sorted(range(len(verdicts)), key=lambda hit: (not verdicts[hit].match, not verdicts[hit].error))
        in_order = tuple(verdicts[hit] for hit in order)
        return replace(found, positions=found.positions[order], scores=found.scores[order], verdicts=in_order)


def as_expression(text: str) -> str:
    """Turn a bare question into an expression; text that begins like an expression stays as it is."""
    if text.startswith(('"', "'", "(")) or text.lower().startswith(("not ", "not(")):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
