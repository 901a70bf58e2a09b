"""What the model is to say: soft targets over the answer vocabulary, and classes of auxiliary columns. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from vqa_ray.errors import RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.text import canonical
from vqa_ray.training.data.labelled_rows import LabelledRows

NO_CLASS = -1


@dataclass(frozen=True, slots=True)
class Targets:
    """The soft targets of N rows: row i has those from `offsets[i]` up to `offsets[i + 1]`.

    Attributes:
        offsets: int64 (N + 1,).
        ids: int32 (T,), places in the vocabulary, no place twice in a row.
        weights: float32 (T,) in 0-1.
    """

    offsets: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def trainable(self) -> npt.NDArray[np.bool_]:
        """bool (N,): whether a row has any target. Rows that have none are not trained on, but evaluated."""
        present: npt.NDArray[np.bool_] = np.diff(self.offsets) > 0
        return present

    @property
    def without(self) -> int:
        """Rows without any answer that is in the vocabulary."""
        return int(np.count_nonzero(~self.trainable))

    def take(self, rows: npt.NDArray[np.int64]) -> Targets:
        """Return the targets of some rows, int64 (M,), in that order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Targets(offsets, self.ids[places], self.weights[places])


def soft_targets(rows: LabelledRows, vocabulary: AnswerVocabulary) -> Targets:
    """Return the weight of each answer of the vocabulary for each row.

    An answer that c of k annotators gave weighs min(1, 3 c / k): with the ten of VQA v2 0.3, 0.6, 0.9, 1 for 1, 2, 3, 4
    or more (dandelin/ViLT); a single answer weighs 1. Weights that the input brings are taken as they are. Answers are
    the same when their official normalisation is.
    """
    counts = rows.counts()
    # Of labels that are the same when normalised, the first counts.
    index_of = {canonical(label): at for at, label in reversed(list(enumerate(vocabulary.labels)))}
    lookup = np.array([index_of.get(name, -1) for name in counts.names], np.int32)
    ids = lookup[counts.answers]
    known = ids >= 0
    lengths = np.bincount(counts.rows[known], minlength=len(rows))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Targets(offsets, ids[known], counts.weights[known])


def caption_targets(rows: LabelledRows) -> Targets:
    """Mark the rows that can be learnt from: one target where it has a caption, none where it has not."""
    is_captioned = rows.answers.value_lengths().to_numpy(zero_copy_only=False) > 0
    offsets = np.concatenate([[0], np.cumsum(is_captioned)]).astype(np.int64)
    return Targets(offsets, np.zeros(offsets[-1], np.int32), np.ones(offsets[-1], np.float32))


def auxiliary_classes(rows: LabelledRows) -> dict[str, tuple[str, ...]]:
    """Return the classes of each auxiliary column, in alphabetical order.

    Raises:
        RequestError: a column has fewer than two.
    """
    found = {}
    for name, column in rows.auxiliary.items():
        classes = tuple(sorted(compute.unique(column.drop_null()).to_pylist()))
        if len(classes) < 2:
            given = f"only {classes[0]!r}" if classes else "no values"
            raise RequestError(f"auxiliary column {name!r} has {given}; at least two classes are needed")
        found[name] = classes
    return found


def auxiliary_targets(rows: LabelledRows, classes: Mapping[str, tuple[str, ...]]) -> npt.NDArray[np.int32]:
    """int32 (N, columns): the place of each row's value in the classes of a column, `NO_CLASS` where there is none."""
    columns = []
    for name, known in classes.items():
        places = compute.index_in(rows.auxiliary[name], pa.array(known, pa.string()))
        columns.append(places.fill_null(NO_CLASS).to_numpy(zero_copy_only=False).astype(np.int32))
    return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0), np.int32)
