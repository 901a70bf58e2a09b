"""The judged rows of an evaluation as the columns that measures are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.evaluation.protocol import JudgedRows
from vqa_ray.judging.rows import EXTRA, MEASURED, extra_names

_TEXTS = ("outcome", "read_as", "truth")

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class MeasuredRows:
    """The rows of an evaluation that are in its measures.

    Attributes:
        rows: N of them.
        clusters: int64 (N,), equal for rows of one image; a row without an image stands alone.
        alone: how many rows have no image.
        columns: that the measures are broken down by: object (N,), str or None.
    """

    rows: JudgedRows
    clusters: npt.NDArray[np.int64]
    columns: Mapping[str, Texts]
    alone: int = 0

    @classmethod
    def of(cls, tables: Iterable[pa.Table], roles: Sequence[str], by: Sequence[str]) -> MeasuredRows:
        """Gather the rows of tables.

        Args:
            tables: of `rows.judged_schema`; those whose outcome is not measured are left out.
            roles: the groups of the protocol, which are columns.
            by: further columns.
        """
        gathered = _Columns(dict.fromkeys((*_TEXTS, *roles, *by)))
        for table in tables:
            gathered.add(table.filter(pc.is_in(table["outcome"], pa.array(MEASURED))))
        texts, extra = gathered.texts, gathered.extra
        groups = {role: texts[role] for role in roles}
        outcome, read_as, truth = (texts[name] for name in _TEXTS)
        rows = JudgedRows(gathered.score, outcome, read_as, truth, groups, extra)  # type: ignore[arg-type]
        return cls(rows, gathered.clusters, {name: texts[name] for name in by}, gathered.alone)

    def take(self, places: npt.NDArray[np.intp]) -> MeasuredRows:
        """Return some of the rows."""
        columns = {name: column[places] for name, column in self.columns.items()}
        return MeasuredRows(self.rows.take(places), self.clusters[places], columns)


class _Columns:
    """Columns that grow table by table; equal texts are one object."""

    def __init__(self, names: Iterable[str]) -> None:
        self._texts: dict[str, list[Texts]] = {name: [] for name in names}
        self._numbers: dict[str, list[npt.NDArray[np.float64]]] = {}
        self._scores: list[npt.NDArray[np.float64]] = []
        self._clusters: list[npt.NDArray[np.int64]] = []
        self._shared: dict[str, str] = {}
        self.alone = 0

    def add(self, table: pa.Table) -> None:
        before = sum(map(len, self._scores))
        self._scores.append(table["score"].to_numpy())
        self._clusters.append(_clusters(table))
        self.alone += table["image_id"].null_count
        for name, parts in self._texts.items():
            column = table[name] if name in table.column_names else pa.nulls(table.num_rows, pa.string())
            parts.append(self._shared_texts(column))
        for name in extra_names(table.schema):
            numbers = pc.fill_null(table[f"{EXTRA}{name}"], 0.0).to_numpy()
            self._numbers.setdefault(name, [np.zeros(before)] if before else []).append(numbers)
        for columns in self._numbers.values():
            if missing := before + table.num_rows - sum(map(len, columns)):
                columns.append(np.zeros(missing))

    def _shared_texts(self, column: pa.ChunkedArray | pa.Array) -> Texts:
        encoded = pc.dictionary_encode(column, null_encoding="encode")
        chunk = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        words: Texts = np.empty(len(chunk.dictionary), object)
        shared = self._shared
        words[:] = [None if word is None else shared.setdefault(word, word) for word in chunk.dictionary.to_pylist()]
        texts: Texts = words[chunk.indices.to_numpy()]
        return texts

    @property
    def score(self) -> npt.NDArray[np.float64]:
        return _joined(self._scores, np.float64)

    @property
    def clusters(self) -> npt.NDArray[np.int64]:
        return _joined(self._clusters, np.int64)

    @property
    def texts(self) -> dict[str, Texts]:
        return {name: _joined(parts, object) for name, parts in self._texts.items()}

    @property
    def extra(self) -> dict[str, npt.NDArray[np.float64]]:
        return {name: _joined(parts, np.float64) for name, parts in self._numbers.items()}


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *parts])


def _clusters(table: pa.Table) -> npt.NDArray[np.int64]:
    images = zip(table["image_id"].to_pylist(), table["key"].to_pylist(), strict=True)
    names = (f"image {image}" if image is not None else f"row {key}" for image, key in images)
    digests = (blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), np.int64)
