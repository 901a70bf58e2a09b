"""Finding the images of an index that look like something, and asking a VQA model about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vqa_ray.browse.text_filter import Mask
from vqa_ray.errors import RequestError
from vqa_ray.images.decode import ImageLimits
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

# Hits of a search that are shown, over pages; and of these, how many are asked about.
MOST_HITS = 240
MOST_VERIFIED = 48

Parse = Callable[[str], Predicate]
"""An expression → what must hold; raises RequestError."""


@dataclass(frozen=True, slots=True)
class VisualQuery:
    """What images are to look like.

    Attributes:
        text: in words; empty for none.
        image: an encoded image; None for none.
        like: the position of a row; None for none.
    """

    text: str = ""
    image: bytes | None = field(default=None, repr=False)
    like: int | None = None


@dataclass(frozen=True, slots=True)
class SearchHits:
    """Hits, best first; where they were asked about, those that match first, then those that could not be asked.

    Attributes:
        positions: int64 (K,), of the rows.
        scores: float32 (K,), how alike.
        images: how many could have been hits.
        method: exact or approximate search, in words.
        verdicts: what the VQA model said of each; None where nothing was asked.
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
        model: which one, and how it is loaded and asked.
        parse: reads expressions for it.
        allow_http: whether images are fetched from http:// and https://.
    """

    model: ModelOptions
    parse: Parse
    allow_http: bool = False


class Finder:
    """Searches an index; the models are loaded when they are first needed. To be used by one thread at a time.

    Args:
        index: to search.
        encoder: the model of the index.
        limits: what an image to search by may cost.
        asking: who verifies; None for nobody.
    """

    def __init__(
        self,
        index: Index,
        encoder: ModelOptions,
        limits: ImageLimits,
        asking: VerifierConfig | None = None,
    ) -> None:
        self._index = index
        self._searcher = Searcher(index, hold=True)
        self._transform = encoder.checkpoint.transform
        self._options = encoder
        self._encoder: Encoder | None = None
        self._limits = limits
        self._asking = asking
        self._model: VqaModel | None = None

    def load(self) -> None:
        """Load the encoder now.

        Raises:
            ModelLoadError: it cannot be.
        """
        if self._encoder is None:
            self._encoder = self._options.load_encoder()

    def find(self, look: VisualQuery, among: Mask, expression: str = "") -> SearchHits:
        """The rows that look most like something.

        Args:
            look: like what.
            among: bool (N,), the rows that may be hits.
            expression: what the best hits are asked; empty for nothing.

        Raises:
            RequestError: an image that cannot be decoded, a row without a vector, an expression that does not parse.
        """
        predicate = self._predicate(expression) if expression else None
        top_k = MOST_HITS if predicate is None else MOST_VERIFIED
        hits = self._searcher.search(self._query(look), top_k=top_k, filter=among)
        found = SearchHits(hits.positions, hits.scores, hits.images, str(hits.method))
        return found if predicate is None or not len(found.positions) else self._verified(found, predicate)

    def _query(self, look: VisualQuery) -> Query:
        like = None if look.like is None else self._vector(look.like)
        if not look.text and look.image is None:
            return Query(image=like)
        self.load()
        assert self._encoder is not None
        image = None if look.image is None else decode_image(look.image, self._transform, self._limits)
        asked = query_of(self._encoder, look.text or None, image)
        return asked if like is None else Query(asked.text, like)

    def _vector(self, position: int) -> npt.NDArray[np.float32]:
        if not 0 <= position < len(self._index):
            raise RequestError(f"no row {position}: the index has {len(self._index)}")
        column = self._index.take([position], ["embedding"])["embedding"]
        if column.null_count:
            raise RequestError("this row has no vector to compare with: its image could not be read")
        vector: npt.NDArray[np.float32] = as_matrix(column, self._index.version.width)[0]
        return vector

    def _predicate(self, expression: str) -> Predicate:
        if self._asking is None:
            raise RequestError("nothing can be verified here: start vqa-ray browse with --verify-model")
        return self._asking.parse(as_expression(expression))

    def _verified(self, found: SearchHits, predicate: Predicate) -> SearchHits:
        assert self._asking is not None
        asking = self._asking
        if self._model is None:
            self._model = asking.model.load()
        check = Verification(asking.model, predicate, allow_http=asking.allow_http, loaded=self._model)
        positions: Sequence[int] = found.positions.tolist()
        verified = Verifier(check, SourceImages(self._index))(positions, len(positions))
        said = [verdict_of(row) for row in verified.table.to_pylist()]
        order = sorted(range(len(said)), key=lambda place: (not said[place].match, not said[place].error))
        verdicts = tuple(said[place] for place in order)
        return replace(found, positions=found.positions[order], scores=found.scores[order], verdicts=verdicts)


def as_expression(text: str) -> str:
    """A bare question as the expression that asks it; what begins like an expression is one already."""
    if text.startswith(('"', "'", "(")) or text.lower().startswith(("not ", "not(")):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
