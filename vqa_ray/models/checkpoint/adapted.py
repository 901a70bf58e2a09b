"""A model with a LoRA adapter that a command puts on it."""

from __future__ import annotations

from collections.abc import Mapping

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.checkpoint.adapter import check_adapter, join_with_base, named_adapter
from vqa_ray.models.checkpoint.adapter_fit import check_fit
from vqa_ray.models.checkpoint.file_selection import ADAPTER_CONFIG, CONFIG
from vqa_ray.models.checkpoint.files import CheckpointFiles, locate, root_of


def locate_adapted(reference: str, lora: str, revisions: Mapping[str, str] | None = None) -> CheckpointFiles:
    """Return a model's files, joined with those of an adapter.

    Args:
        reference: of the model, see `locate`.
        lora: of the adapter, see `named_adapter`.
        revisions: see `locate`.

    Raises:
        ModelLoadError: see `locate`; also if there is no adapter, or it does not fit the model.
    """
    name, place = named_adapter(lora)
    label = f"--lora {lora}"
    try:
        root = root_of(place, revisions or {})
    except RequestError as error:
        raise ModelLoadError(f"{label}: {error}") from error
    if not (root.path / ADAPTER_CONFIG).is_file():
        raise ModelLoadError(f"{label}: no LoRA adapter; wanted a directory with {ADAPTER_CONFIG} and its weights")
    check_adapter(root.path, label)
    found = locate(reference, revisions)
    path = join_with_base(root.path, reference, found.path, label)
    check_fit(root.path, found.path, label)
    notes = (*found.notes, *root.notes, f"model {reference}: with the LoRA adapter {name} of {place}")
    return CheckpointFiles(path, (path / CONFIG).read_bytes(), notes, {**found.revisions, **root.revisions})
