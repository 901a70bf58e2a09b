"""Approximate search in a large index: what it finds of the exact hits, how long a query takes, what building costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import numpy.typing as npt

from benchmarks import machine, synthetic_index
from benchmarks.peak import MIB
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.index.reader import open_index
from vqa_ray.index.search.searcher import Query, Searcher

_ROWS, _DIMENSION, _CLUSTERS, _QUERIES, _K = 1_000_000, 512, 10_000, 1_000, 10
_QUERY_SEED, _WARM_UP = 7, 50


def measure(settings: Settings) -> Measured:
    """Recall, milliseconds, seconds of building, memory of building to the size of the vectors."""
    rows, dimension = settings.pick(_ROWS, 20_000), settings.pick(_DIMENSION, 64)
    clusters, count = settings.pick(_CLUSTERS, 200), settings.pick(_QUERIES, 100)
    uri = str(settings.scratch / "index")
    synthetic_index.write(uri, rows, dimension, clusters)
    command = [sys.executable, "-m", "benchmarks.ann_build", uri]
    built = json.loads(subprocess.run(command, cwd=machine.ROOT, check=True, capture_output=True, text=True).stdout)
    queries = synthetic_index.clustered(count, dimension, clusters, _QUERY_SEED)
    exact = _exact(queries, rows, dimension, clusters)
    begun = time.perf_counter()
    searcher = Searcher(open_index(uri))
    for query in queries[:_WARM_UP]:
        searcher.search(Query(query), top_k=_K, exact=False)
    load_s = time.perf_counter() - begun
    found, times = [], []
    for query in queries:
        begun = time.perf_counter()
        hits = searcher.search(Query(query), top_k=_K, exact=False)
        times.append(1000 * (time.perf_counter() - begun))
        assert not hits.method.exact
        # Drawn vectors have no equal scores: positions are what is compared.
        found.append(len(set(hits.positions.tolist()) & set(exact[len(found)].tolist())) / _K)
    vectors_bytes = rows * dimension * 4
    asked = ", ".join(f"{name} {value}" for name, value in hits.method.parameters.items())
    what = f"{rows:,} × {dimension} vectors"
    return Measured(
        [
            figure(f"{what}: recall@{_K} against exact search", [float(np.mean(found))], at_least=0.95),
            figure("a query after load, median", [float(np.median(times))], "ms", at_most=15.0),
            figure("a query after load, 99th percentile", [float(np.percentile(times, 99))], "ms", at_most=60.0),
            figure(f"opening the index, and {_WARM_UP} queries", [load_s], "s"),
            figure("building the approximate index", [built["duration_s"]], "s"),
            figure("most memory while building", [built["most_bytes"] / MIB], "MiB"),
            figure("most memory to the size of the vectors", [built["most_bytes"] / vectors_bytes], "×", at_most=1.5),
        ],
        [
            f"Vectors drawn around {clusters:,} centres, {count:,} queries drawn likewise that are not in the index. "
            f"A query is one `Searcher.search` for {_K} hits, one after the other, asked with {asked}.",
            "Built by a process of its own from the Parquet files of the index; its memory is the peak of its resident "
            "set.",
        ],
    )


def _exact(queries: npt.NDArray[np.float32], rows: int, dimension: int, clusters: int) -> npt.NDArray[np.int64]:
    """Return the best rows of each query: int64 (Q, K), in no order."""
    scores = np.full((len(queries), _K), -np.inf, np.float32)
    places = np.zeros((len(queries), _K), np.int64)
    start = 0
    for vectors in synthetic_index.blocks(rows, dimension, clusters):
        more = np.broadcast_to(np.arange(start, start + len(vectors)), (len(queries), len(vectors)))
        every = np.concatenate([scores, queries @ vectors.T], axis=1)
        best = np.argpartition(-every, _K, axis=1)[:, :_K]
        places = np.take_along_axis(np.concatenate([places, more], axis=1), best, axis=1)
        scores = np.take_along_axis(every, best, axis=1)
        start += len(vectors)
    return places
