"""The recall of the approximate index of an index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vqa_ray.index.ann.nearest import AnnIndex
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import Index
from vqa_ray.index.search.approximate import recall
from vqa_ray.index.search.candidates import Candidates
from vqa_ray.index.vectors import as_matrix
from vqa_ray.index.version import AnnState, Version

K = 10
_QUERIES, _SEED = 100, 0


def with_measured_recall(layout: IndexDirectory, version: Version, state: AnnState) -> AnnState:
    """Add the recall@10 for the vectors of 100 images of the index to a state; all vectors are read once.

    Args:
        layout: the directory of the index.
        version: of the index.
        state: of its approximate index; without partitions its recall is 1 and not measured.
    """
    if not state.partitions:
        return replace(state, recall=1.0, recall_queries=0, recall_k=K)
    index = Index(layout, replace(version, ann=state))
    candidates = Candidates(index)
    everything = candidates.with_vector
    positions = np.flatnonzero(everything)
    drawn = np.random.default_rng(_SEED).choice(positions, min(_QUERIES, len(positions)), replace=False)
    queries = as_matrix(index.take(np.sort(drawn).tolist(), ["embedding"])["embedding"], version.width)
    share = recall(AnnIndex(layout, version, state), queries, candidates.blocks(everything), K)
    return replace(state, recall=share, recall_queries=len(queries), recall_k=K)
