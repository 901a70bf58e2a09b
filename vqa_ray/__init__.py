"""Ask questions of millions of images: the library that every worker imports.

Importing this package is light: no Ray, no torch, no NumPy, and no file is opened. The names of the public API load
their modules at first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vqa_ray.former_names import install

if TYPE_CHECKING:
    from vqa_ray.api.callables import Answer, Caption, Embed, Retrieve, Tag
    from vqa_ray.api.index import Hit, Hits, ImageIndex, open_index
    from vqa_ray.api.load import load
    from vqa_ray.api.model import Model
    from vqa_ray.api.results import AnswerResult, CaptionResult, FillResult, PixelBox, ScoreResult, TagResult
    from vqa_ray.api.run import Run, read_run
    from vqa_ray.errors import ErrorCode, ModelLoadError, RequestError, RowError, RunError, VqaRayError
    from vqa_ray.images.decoder import ImageLimits
    from vqa_ray.taxonomy.taxonomy import Taxonomy

# The one place of the version: pyproject.toml reads it here.
__version__ = "0.2.0"

__all__ = [
    "Answer",
    "AnswerResult",
    "Caption",
    "CaptionResult",
    "Embed",
    "ErrorCode",
    "FillResult",
    "Hit",
    "Hits",
    "ImageIndex",
    "ImageLimits",
    "Model",
    "ModelLoadError",
    "PixelBox",
    "RequestError",
    "Retrieve",
    "RowError",
    "Run",
    "RunError",
    "ScoreResult",
    "Tag",
    "TagResult",
    "Taxonomy",
    "VqaRayError",
    "__version__",
    "load",
    "open_index",
    "read_run",
]

# Module → the public names that it holds.
_HOMES = {
    "vqa_ray.api.callables": ("Answer", "Caption", "Embed", "Retrieve", "Tag"),
    "vqa_ray.api.index": ("Hit", "Hits", "ImageIndex", "open_index"),
    "vqa_ray.api.load": ("load",),
    "vqa_ray.api.model": ("Model",),
    "vqa_ray.api.results": ("AnswerResult", "CaptionResult", "FillResult", "PixelBox", "ScoreResult", "TagResult"),
    "vqa_ray.api.run": ("Run", "read_run"),
    "vqa_ray.errors": ("ErrorCode", "ModelLoadError", "RequestError", "RowError", "RunError", "VqaRayError"),
    "vqa_ray.images.decoder": ("ImageLimits",),
    "vqa_ray.taxonomy.taxonomy": ("Taxonomy",),
}


install()


def __getattr__(name: str) -> object:
    """Load a public name at its first use."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
