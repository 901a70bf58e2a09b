"""A model as records and the metadata of tables describe it."""

from __future__ import annotations

from vqa_ray.models.checkpoint.opened import Checkpoint


def describe_model(model: Checkpoint, score_meaning: str) -> dict[str, str]:
    """Describe a model for records and the metadata of tables.

    Args:
        model: the model.
        score_meaning: of the scores that the output holds.
    """
    return {
        "reference": model.reference,
        "family": model.family_name,
        "fingerprint": model.fingerprint,
        "score_meaning": score_meaning,
    }
