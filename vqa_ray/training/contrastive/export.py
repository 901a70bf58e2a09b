"""A trained CLIP, written as a directory that `from_pretrained` and every job here load."""

from __future__ import annotations

import copy

from vqa_ray.training.contrastive.initialise import InitialClip
from vqa_ray.training.export import in_dtype, write_model


def export_pairs(destination: str, start: InitialClip, dtype: str = "float32") -> None:
    """Write the model to a local directory or URI, whole or not at all; the training model stays as it is.

    Args:
        destination: a local directory or URI.
        start: whose model was trained.
        dtype: of the written weights, `float32` or `bfloat16`.

    Raises:
        RequestError: an unknown dtype.
        RunError: the destination cannot be written.
    """
    model = in_dtype(copy.deepcopy(start.model), dtype)
    write_model(destination, lambda staged: start.save(staged, model))
