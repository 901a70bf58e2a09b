"""Near-duplicates: groups of images that are connected by pairs above a score. Exact, and pure.

Only vectors close to each other are compared. Vectors are assigned to cells around centres; two vectors that are closer
than a distance r may lie in different cells, but then each is within r of the border between the cells: the distance of
b to the plane half-way between centres c and d is (|b - d|² - |b - c|²) / (2 |c - d|). So each cell is compared with
its own vectors and with those of other cells that lie within r of its border.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Fewer vectors are one cell.
_CELL_ROWS = 1_024
_ROUNDS = 5
_SAMPLE_PER_CELL = 64
_BLOCK = 1_024
# Rounding of float32: a vector nearer than this to a border counts on both sides.
_SLACK = 1e-4


def groups(vectors: Vectors, count: int, threshold: float) -> list[Ids]:
    """Find groups in which each image has a score of at least `threshold` with another one.

    Args:
        vectors: float32 (N, count * dimension), each vector of length 1.
        count: vectors of an image. With several, the score of two images is the lesser of both directions.
        threshold: minimum score, above 0 and at most 1.

    Returns:
        Groups of at least two rows, int64, ascending; the group with the smallest row first.

    Raises:
        RequestError: the threshold is out of range.
    """
    if not 0.0 < threshold <= 1.0:
        raise RequestError(f"--dedupe {threshold:g}: expected a score above 0 and at most 1")
    # The score of an image with itself may be a little less than 1.
    least = np.float32(min(threshold, 1.0 - 1e-5))
    sets = _Sets(len(vectors))
    if count == 1:
        for home, others in _cells(vectors, least):
            for rows, columns in _blocks(home, others):
                sets.join(rows, columns, vectors[rows] @ vectors[columns].T >= least)
    else:
        images = vectors.reshape(len(vectors), count, -1)
        size = max(1, _BLOCK // count)
        everything = np.arange(len(vectors))
        for rows, columns in _blocks(everything, everything, size):
            sets.join(rows, columns, _both_ways(images[rows], images[columns]) >= least)
    return sets.groups()


def scores_to_first(vectors: Vectors, count: int, group: Ids) -> Vectors:
    """Return the score of each image of a group with the first: float32 (len(group),)."""
    images = vectors[group].reshape(len(group), count, -1)
    scores: Vectors = _both_ways(images[:1], images)[0]
    return scores


def _both_ways(mine: Vectors, theirs: Vectors) -> Vectors:
    """Scores of images with vectors float32 (A, V, D) and (B, V, D): float32 (A, B)."""
    a, v, d = mine.shape
    products = (mine.reshape(-1, d) @ theirs.reshape(-1, d).T).reshape(a, v, len(theirs), v)
    scores: Vectors = np.minimum(products.max(axis=3).mean(axis=1), products.max(axis=1).mean(axis=2))
    return scores


def _blocks(home: Ids, others: Ids, size: int = _BLOCK) -> Iterator[tuple[Ids, Ids]]:
    """Yield pairs of blocks so that each row of `home` meets each row of `others` at least once.

    Args:
        home: rows that also stand first in `others`, in the same order; half of their pairs suffice.
        others: rows.
        size: of a block.
    """
    for start in range(0, len(home), size):
        for other in range(start, len(others), size):
            yield home[start : start + size], others[other : other + size]


def _cells(vectors: Vectors, least: np.float32) -> Iterator[tuple[Ids, Ids]]:
    """Yield (rows of a cell, these rows and the rows near the cell) for each cell with rows."""
    count = len(vectors) // _CELL_ROWS
    if count < 2:
        rows = np.arange(len(vectors))
        yield rows, rows
        return
    reach = float(np.sqrt(max(0.0, 2.0 - 2.0 * float(least)))) + _SLACK
    centres = _centres(vectors, count)
    apart = np.sqrt(np.maximum(_squares(centres, centres), 1e-12))
    homes = np.empty(len(vectors), np.int64)
    near: list[list[Ids]] = [[] for _ in range(count)]
    for start in range(0, len(vectors), _BLOCK):
        squares = _squares(vectors[start : start + _BLOCK], centres)
        home = squares.argmin(axis=1)
        homes[start : start + _BLOCK] = home
        own = np.take_along_axis(squares, home[:, None], axis=1)
        visits = squares - own <= 2.0 * reach * apart[home]
        visits[np.arange(len(home)), home] = False
        rows, cells = np.nonzero(visits)
        order = np.argsort(cells, kind="stable")
        bounds = np.searchsorted(cells[order], np.arange(count + 1))
        for cell in range(count):
            if bounds[cell] < bounds[cell + 1]:
                near[cell].append(start + rows[order[bounds[cell] : bounds[cell + 1]]])
    order = np.argsort(homes, kind="stable")
    bounds = np.searchsorted(homes[order], np.arange(count + 1))
    for cell in range(count):
        mine = order[bounds[cell] : bounds[cell + 1]]
        if len(mine):
            yield mine, np.concatenate([mine, *near[cell]])


def _centres(vectors: Vectors, count: int) -> Vectors:
    """Centres of a few rounds of k-means on a sample; reproducible."""
    drawn = np.random.default_rng(0)
    size = min(len(vectors), count * _SAMPLE_PER_CELL)
    sample = vectors[np.sort(drawn.choice(len(vectors), size, replace=False))]
    centres = sample[np.sort(drawn.choice(size, count, replace=False))].copy()
    for _ in range(_ROUNDS):
        nearest = np.concatenate(
            [_squares(sample[i : i + _BLOCK], centres).argmin(axis=1) for i in range(0, size, _BLOCK)]
        )
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        members = np.bincount(nearest, minlength=count)
        filled = members > 0
        centres[filled] = sums[filled] / members[filled, None]
    return centres


def _squares(rows: Vectors, centres: Vectors) -> Vectors:
    """Squared distances, float32 (A, B), of rows of length 1."""
    lengths = np.einsum("bd,bd->b", centres, centres)
    mine = np.einsum("ad,ad->a", rows, rows)
    squares: Vectors = mine[:, None] + lengths[None] - 2.0 * (rows @ centres.T)
    return squares


class _Sets:
    """Disjoint sets of rows (union-find)."""

    def __init__(self, rows: int) -> None:
        self._roots = np.arange(rows)

    def join(self, rows: Ids, columns: Ids, pairs: npt.NDArray[np.bool_]) -> None:
        """Join rows[i] and columns[j] wherever pairs[i, j]."""
        i, j = np.nonzero(pairs)
        if not len(i):
            return
        ends = np.stack([self._roots[rows[i]], self._roots[columns[j]]], axis=1)
        ends = ends[ends[:, 0] != ends[:, 1]]
        for a, b in np.unique(np.sort(ends, axis=1), axis=0).tolist():
            low, high = sorted((self._root(a), self._root(b)))
            self._roots[high] = low

    def groups(self) -> list[Ids]:
        """Return the sets of at least two rows."""
        roots = np.array([self._root(row) for row in range(len(self._roots))], np.int64)
        order = np.argsort(roots, kind="stable")
        starts = np.flatnonzero(np.diff(roots[order], prepend=-1))
        found = np.split(order, starts[1:]) if len(order) else []
        return [group for group in found if len(group) > 1]

    def _root(self, row: int) -> int:
        while self._roots[row] != row:
            self._roots[row] = self._roots[self._roots[row]]
            row = int(self._roots[row])
        return row
