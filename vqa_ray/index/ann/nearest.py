"""Queries to the approximate index of an index."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RunError
from vqa_ray.index.ann.build import ERRORS, is_installed, open_dataset
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.version import AnnState, Version
from vqa_ray.runs.part_files import read_columns

logger = logging.getLogger(__name__)

PROBES, REFINE_FACTOR = 24, 10


class AnnIndex:
    """The approximate index that belongs to a version of an index.

    Args:
        layout, version: of the index.
        state: of its approximate index.

    Raises:
        OSError, ValueError, RuntimeError, RunError: it cannot be opened, or does not match the version.
    """

    def __init__(self, layout: IndexDirectory, version: Version, state: AnnState) -> None:
        self.state = state
        self._dimension = version.dimension
        self._dataset = open_dataset(layout, state)
        self._positions = _RowPositions(layout, version)

    @property
    def parameters(self) -> Mapping[str, int]:
        """The parameters of a query and of the index."""
        shape = {"partitions": self.state.partitions, "sub_vectors": self.state.sub_vectors}
        return {"probes": PROBES, "refine_factor": REFINE_FACTOR, **shape}

    def nearest(
        self, vectors: npt.NDArray[np.float32], k: int, *, probes: int = PROBES, refine_factor: int = REFINE_FACTOR
    ) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        """Find the images nearest to each query, approximately.

        Args:
            vectors: float32 (Q, D), of length 1.
            k: images per query, at least 1.
            probes: partitions to search.
            refine_factor: times k candidates get their exact score.

        Returns:
            For each query the scores (cosines), float32 (K,), descending, and the positions of the rows, int64 (K,);
            among equal scores the smallest position first. K is k, or less for fewer rows.
        """
        results = []
        for vector in vectors:
            query: dict[str, Any] = {
                "column": "vector",
                "q": np.asarray(vector, np.float32),
                "k": k,
                "metric": "cosine",
            }
            if self.state.partitions:
                query |= {"nprobes": min(probes, self.state.partitions), "refine_factor": refine_factor}
            table = self._dataset.to_table(
                columns=["update", "source_key", "_distance"], nearest=query, disable_scoring_autoprojection=True
            )
            scores = (1.0 - table["_distance"].to_numpy()).astype(np.float32)
            positions = self._positions.of(table["update"].to_pylist(), table["source_key"].to_numpy())
            order = np.lexsort((positions, -scores))
            results.append((scores[order], positions[order]))
        return results


class _RowPositions:
    """Positions of rows by update and key; uses 16 bytes a row."""

    def __init__(self, layout: IndexDirectory, version: Version) -> None:
        start = 0
        parts: dict[str, list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]] = {}
        for file in version.files:
            keys = read_columns(layout.path(file.path), ("source_key",))["source_key"].to_numpy()
            parts.setdefault(file.update, []).append((keys, start + np.arange(len(keys))))
            start += file.rows
        self._sorted: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        for update, pairs in parts.items():
            keys, positions = (np.concatenate(each) for each in zip(*pairs, strict=True))
            order = np.argsort(keys)
            self._sorted[update] = keys[order], positions[order]

    def of(self, updates: list[str], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        positions = np.empty(len(keys), np.int64)
        for row, (update, key) in enumerate(zip(updates, keys.tolist(), strict=True)):
            known, known_positions = self._sorted[update]
            found = int(np.searchsorted(known, key))
            if found == len(known) or known[found] != key:
                raise RunError(f"row {key} of update {update} is in the approximate index, but not in the files")
            positions[row] = known_positions[found]
        return positions


def open_ann(layout: IndexDirectory, version: Version) -> AnnIndex | None:
    """Open the approximate index of a version; None, with a warning, where it is not usable and search is exact."""
    if version.ann is None:
        return None
    if not is_installed():
        logger.warning("%s: search is exact, because Lance is not installed: pip install 'vqa-ray[index]'", layout.uri)
        return None
    try:
        return AnnIndex(layout, version, version.ann)
    except (*ERRORS, RunError) as error:
        logger.warning(
            "%s: search is exact, because the approximate index cannot be used (%s); `vqa-ray index --rebuild-ann` "
            "makes it anew",
            layout.uri,
            " ".join(str(error).split())[:200],
        )
        return None
