"""The encoder that images are searched by, and indexes made with it."""

from __future__ import annotations

import os
from pathlib import Path

from vqa_ray.errors import RunError
from vqa_ray.index.reader import Index, open_index
from vqa_ray.jobs.cli import exit_code
from vqa_ray.jobs.index import command as index_job
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.models.checkpoint.files import bundled_names

BUNDLED = "bundled:catalog-clip"
# Names another encoder: a directory, a URI or a hub name.
VARIABLE = "VQA_RAY_BENCHMARK_ENCODER"


def reference(quick: bool) -> str:
    """Return the encoder that the environment names, else the bundled one, else the one without weights."""
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    there = BUNDLED.partition(":")[2] in bundled_names()
    return BUNDLED if there and not quick else "fake:"


def build_index(input: Path, output: Path, encoder: str, **fields: object) -> Index:
    """Run `vqa-ray index` as the command does, in this process.

    Args:
        input: the images.
        output: the index directory.
        encoder: a model reference.
        fields: more of `IndexSpec`.

    Raises:
        RunError: its rows are not sound, or too many of them failed.
    """
    request = {"input": str(input), "output": str(output), "model": encoder, "quiet": True, **fields}
    result = index_job.run(IndexSpec.model_validate(request))
    if exit_code(result):
        raise RunError(f"index: {result}")
    return open_index(str(output))
