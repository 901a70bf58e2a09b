"""Text search in an index of rendered products, and what a VQA model's word on the candidates adds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks import checkpoints, encoders
from benchmarks.catalog_queries import CatalogQuery, all_queries
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from vqa_ray.catalog.captions import with_article
from vqa_ray.catalog.product import Product, sample_product
from vqa_ray.catalog.write import write_catalogue
from vqa_ray.index.reader import Index
from vqa_ray.index.search.hits import apply_verdicts
from vqa_ray.index.search.searcher import Hits, Query, Searcher
from vqa_ray.index.search.verify import Verification, Verifier
from vqa_ray.index.source_images import SourceImages
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse

_PRODUCTS, _SEED = 2_000, 7_000_003
_TOP_K, _CANDIDATES = 10, 40
_VERIFIED = 120
_COLOURED = "is it {}?"
_ASKED = {"category": "is it {}?", "colour": _COLOURED, "pattern": _COLOURED, "motif": "is there {}?"}
_BEFORE_NOUNS = ("category", "motif")


@dataclass(frozen=True, slots=True)
class _Judged:
    """One query's hits against the truth.

    Attributes:
        kind: of the query.
        right, hits: of how many hits how many are right.
        possible: how many right ones there are, or 10 where there are more.
    """

    kind: str
    right: int
    hits: int
    possible: int


def measure(settings: Settings) -> Measured:
    """recall@10 over every query that some product fits; precision before and after a VQA model has looked."""
    encoder, model = encoders.reference(settings.quick), checkpoints.small_model(settings.quick)
    count = settings.pick(_PRODUCTS, 120)
    write_catalogue(count, _SEED, str(settings.scratch / "catalogue"), "parquet")
    index = encoders.build_index(settings.scratch / "catalogue", settings.scratch / "index", encoder)
    products = [sample_product(_SEED, row_id) for row_id in index.rows(["row_id"])["row_id"].to_pylist()]
    queries = [query for query in all_queries() if any(map(query.fits, products))]
    vectors = ModelOptions(encoder).load_encoder().encode_texts([query.text for query in queries])
    searcher = Searcher(index, hold=True)
    begun = time.monotonic()
    found = [searcher.search(Query(vector), top_k=_CANDIDATES) for vector in vectors]
    seconds = time.monotonic() - begun
    plain = [_judged(query, hits.positions[:_TOP_K], products) for query, hits in zip(queries, found, strict=True)]
    drawn = np.random.default_rng(_SEED).permutation(len(queries))[: settings.pick(_VERIFIED, 4)].tolist()
    verified = [
        _judged(queries[place], hits, products)
        for place, hits in zip(drawn, _verified([(queries[p], found[p]) for p in drawn], index, model), strict=True)
    ]
    return Measured(
        [
            *_recalls(plain, count),
            figure("searches per second, one after the other", [len(queries) / seconds], "searches/s"),
            *_precisions([plain[place] for place in drawn], verified),
        ],
        [
            f"{count:,} products of catalogue seed {_SEED}, which no training used, indexed by `vqa-ray index` with "
            f"{encoder}. Queries are all texts of the kinds above that at least one product fits. A hit is right when "
            "the product has everything that the text names. recall@10 is the number of right ones among the first 10, "
            "divided by 10 or, where there are fewer right products, by their number; the mean over the queries.",
            f"Verified are {len(drawn)} of the queries, drawn at random: their first {_CANDIDATES} hits are asked, by "
            f"{model}, about everything that the text names, and the first {_TOP_K} that fit stay. Precision is over "
            "all hits of all these queries together.",
        ],
    )


def _recalls(judged: Sequence[_Judged], count: int) -> list[Figure]:
    kinds = sorted({each.kind for each in judged})
    return [
        figure(
            f"text search among {count:,} products: recall@10 ({len(judged)} queries)",
            [_recall(judged)],
            at_least=0.9,
        ),
        *(
            figure(
                f"recall@10 of queries like “{kind}” ({sum(each.kind == kind for each in judged)})",
                [_recall([each for each in judged if each.kind == kind])],
            )
            for kind in kinds
        ),
    ]


def _precisions(before: Sequence[_Judged], after: Sequence[_Judged]) -> list[Figure]:
    precision = _precision(before)
    return [
        figure(f"precision of the first 10 ({len(before)} queries)", [precision]),
        figure("precision after verification", [_precision(after)], at_least=precision),
        figure("recall@10 of the same before", [_recall(before)]),
        figure("recall@10 after verification", [_recall(after)]),
    ]


def _verified(searches: Sequence[tuple[CatalogQuery, Hits]], index: Index, model: str) -> list[npt.NDArray[np.int64]]:
    """Return the positions that are left of each search."""
    options = ModelOptions(model)
    loaded = options.load()
    left = []
    for query, hits in searches:
        check = Verification(options, parse(_expression(query)), loaded=loaded)
        verified = Verifier(check, SourceImages(index))(hits.positions.tolist(), _TOP_K)
        left.append(apply_verdicts(hits.positions, hits.scores, verified, _TOP_K).positions)
    return left


def _expression(query: CatalogQuery) -> str:
    """Return what a right product must be, in questions."""
    asked = (
        _ASKED[name].format(with_article(value) if name in _BEFORE_NOUNS else value) for name, value in query.wanted
    )
    return " and ".join(f'"{question}"' for question in asked)


def _judged(query: CatalogQuery, positions: npt.NDArray[np.int64], products: Sequence[Product]) -> _Judged:
    right = sum(query.fits(products[position]) for position in positions.tolist())
    return _Judged(query.kind, right, len(positions), min(_TOP_K, sum(map(query.fits, products))))


def _recall(judged: Sequence[_Judged]) -> float:
    """In the mean over the queries."""
    return float(np.mean([each.right / each.possible for each in judged]))


def _precision(judged: Sequence[_Judged]) -> float:
    """Over all hits of all queries."""
    return sum(each.right for each in judged) / max(1, sum(each.hits for each in judged))
