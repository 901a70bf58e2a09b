"""What the models of a run saw of its images, for the manifest and the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.jobs.runtime.execute import Execution
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.models.seen_images import describe_seen


def images_seen(job: Job, done: Execution) -> list[dict[str, Any]]:
    """Describe the images of an execution as its models saw them; empty where no image could be read."""
    pairs = [(job.pipeline.model, done.images), (job.second.model if job.second else None, done.second_images)]
    return [describe_seen(model, sizes.images) for model, sizes in pairs if model is not None and sizes.images]


def seen_line(seen: Mapping[str, Any]) -> str:
    """Write one line of the summary: the size that the model saw, and that of the files."""
    size, file, tokens, tiles = (seen[name]["median"] for name in ("seen", "file", "tokens", "tiles"))
    parts = [f"  images as {seen['family']} sees them: {_size(size)} of {_size(file)}"]
    parts += [f"{tokens:,} tokens" + (f" in {tiles} tiles" if tiles and tiles > 1 else "")] if tokens else []
    parts += [f"{seen['much_reduced'] / seen['images']:.0%} at less than a quarter of their area"] * bool(
        seen["much_reduced"]
    )
    return f"{', '.join(parts)} (median of {seen['images']:,})"


def _size(size: list[int]) -> str:
    return f"{size[1]} x {size[0]}"
