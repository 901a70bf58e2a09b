"""The stage that turns images into vectors: DECODED tables in, tables of `schema.embedding_schema` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.image_metadata import METADATA_COLUMNS
from vqa_ray.stages.model_stage import assemble, bisect_failures, image_groups, kept_fields

Vectors = npt.NDArray[np.float32]

# Rounding error of a unit vector's length; bfloat16 models normalise in float32.
_LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class EmbedConfig:
    """Configuration of `EmbedStage`, and of `DescribeImages` before it.

    Attributes:
        model: an encoder, and how to load it.
        thumbnails: make a thumbnail of each image.
    """

    model: ModelOptions
    thumbnails: bool = True


class EmbedStage:
    """A `map_batches` callable that holds one loaded encoder; an image that several rows show goes once.

    Args:
        config: see `EmbedConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
        RequestError: it does not embed images.
    """

    def __init__(self, config: EmbedConfig, attempt: int = 1) -> None:
        self._encoder = config.model.load_encoder()
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Embed a DECODED table with kept columns and those of `DescribeImages`: as many rows, in the same order."""

        def embed(rows: list[int]) -> list[Vectors | RowError]:
            return self._embed(table, rows)

        found, failures = bisect_failures(embed, schema.ok_rows(table).tolist())
        kept = [field for field in kept_fields(table) if field.name not in METADATA_COLUMNS]
        form = schema.embedding_schema(self._encoder.vectors, self._encoder.dimension)
        columns = {
            "embedding": self._column(found, table.num_rows),
            "height": table["source_height"],
            "width": table["source_width"],
        }
        return assemble(schema.with_kept(form, kept), table, columns, failures, self._attempt)

    def _embed(self, table: pa.Table, rows: Sequence[int]) -> list[Vectors | RowError]:
        """Embed each row, float32 (V * D,); every distinct image goes to the model once."""
        groups = image_groups(table, rows)
        encoded = self._encoder.encode_images([group.image for group in groups])
        expected = (len(groups), self._encoder.vectors * self._encoder.dimension)
        if encoded.shape != expected or encoded.dtype != np.float32:
            raise AssertionError(f"the encoder gave {encoded.dtype} {encoded.shape}, expected float32 {expected}")
        lengths = np.linalg.norm(encoded.reshape(len(groups), self._encoder.vectors, -1), axis=-1)
        by_row: dict[int, Vectors | RowError] = {}
        for group, vectors, length in zip(groups, encoded, lengths, strict=True):
            by_row |= dict.fromkeys(group.rows, vectors if _is_unit(length) else _not_unit(length))
        return [by_row[row] for row in rows]

    def _column(self, found: Mapping[int, Vectors], rows: int) -> pa.Array:
        """Return a fixed_size_list<float32> column, null where a row has no vectors."""
        size = self._encoder.vectors * self._encoder.dimension
        values, absent = np.zeros((rows, size), np.float32), np.ones(rows, np.bool_)
        for row, vectors in found.items():
            values[row], absent[row] = vectors, False
        flat = pa.array(values.reshape(-1), pa.float32())
        return pa.FixedSizeListArray.from_arrays(flat, size, mask=pa.array(absent))


def _is_unit(lengths: Vectors) -> bool:
    # False for lengths that are NaN or infinite, too.
    return bool((np.abs(lengths - 1) <= _LENGTH_TOLERANCE).all())


def _not_unit(lengths: Vectors) -> RowError:
    worst = lengths[~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE)][0]
    length = f"of length {worst:g}" if np.isfinite(worst) else "that is not finite (NaN or infinity)"
    return RowError(ErrorCode.MODEL_ERROR, f"the model made a vector {length} of this image; expected length 1")
