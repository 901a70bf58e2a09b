"""The stage that turns images into vectors: DECODED tables in, tables of `schema.embedding_schema` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages import model_stage as batch
from vqa_ray.stages.answer import limit_threads
from vqa_ray.stages.image_metadata import DESCRIPTION

Vectors = npt.NDArray[np.float32]

# A vector of length 1 has one this near to it after rounding; bfloat16 models normalise in float32.
_LENGTH_TOLERANCE = 1e-3


class EmbedStage:
    """A `map_batches` callable that holds one loaded encoder; an image that several rows show goes once.

    Args:
        model: which one, and how it is loaded.
        attempt: how many times these rows have been tried, counting this one.
        threads: CPU threads for the model; None leaves the process as it is.

    Raises:
        ModelLoadError: the model cannot be loaded.
        RequestError: it does not embed images.
    """

    def __init__(self, model: ModelOptions, *, attempt: int = 1, threads: int | None = None) -> None:
        limit_threads(threads)
        self._encoder = model.load_encoder()
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Embed a DECODED table with kept columns and those of `DescribeImages`: as many rows, in the same order."""

        def embed(rows: list[int]) -> list[Vectors | RowError]:
            return self._embed(table, rows)

        results = batch.bisect_failures(embed, batch.ok_rows(table))
        failures = batch.failures_of(results)
        found = {row: vectors for row, vectors in results.items() if not isinstance(vectors, RowError)}
        kept = [field for field in batch.kept_fields(table) if field.name not in DESCRIPTION]
        form = schema.embedding_schema(self._encoder.vectors, self._encoder.dimension)
        columns = {
            "embedding": self._column(found, table.num_rows),
            "height": table["source_height"],
            "width": table["source_width"],
        }
        return batch.assemble(schema.with_kept(form, kept), table, columns, failures, self._attempt)

    def _embed(self, table: pa.Table, rows: Sequence[int]) -> list[Vectors | RowError]:
        """The vectors of each row, float32 (V * D,); every distinct image goes to the model once."""
        groups = batch.image_groups(table, rows)
        encoded = self._encoder.encode_images([group.image for group in groups])
        wanted = (len(groups), self._encoder.vectors * self._encoder.dimension)
        if encoded.shape != wanted or encoded.dtype != np.float32:
            raise AssertionError(f"the encoder gave {encoded.dtype} {encoded.shape}, wanted float32 {wanted}")
        lengths = np.linalg.norm(encoded.reshape(len(groups), self._encoder.vectors, -1), axis=-1)
        by_row: dict[int, Vectors | RowError] = {}
        for group, vectors, length in zip(groups, encoded, lengths, strict=True):
            by_row |= dict.fromkeys(group.rows, vectors if _is_unit(length) else _not_unit(length))
        return [by_row[row] for row in rows]

    def _column(self, found: Mapping[int, Vectors], rows: int) -> pa.Array:
        """fixed_size_list<float32>, null where there is nothing."""
        size = self._encoder.vectors * self._encoder.dimension
        values, absent = np.zeros((rows, size), np.float32), np.ones(rows, np.bool_)
        for row, vectors in found.items():
            values[row], absent[row] = vectors, False
        flat = pa.array(values.reshape(-1), pa.float32())
        return pa.FixedSizeListArray.from_arrays(flat, size, mask=pa.array(absent))


def _is_unit(lengths: Vectors) -> bool:
    # Not finite: the comparison is false.
    return bool((np.abs(lengths - 1) <= _LENGTH_TOLERANCE).all())


def _not_unit(lengths: Vectors) -> RowError:
    worst = lengths[~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE)][0]
    told = f"of length {worst:g}" if np.isfinite(worst) else "that is not finite (NaN or infinity)"
    return RowError(ErrorCode.MODEL_ERROR, f"the model made a vector {told} of this image; wanted length 1")
