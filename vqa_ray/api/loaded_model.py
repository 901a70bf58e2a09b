"""A loaded model and what it says about itself; the part of `Model` that all of its tasks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pyarrow as pa

from vqa_ray.api.engine import Engine, ImageOptions, LoadedOptions
from vqa_ray.api.rows import RowReader
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.registry import Task

T = TypeVar("T")


class LoadedModel:
    """A model for one process, and the engine that brings images to it.

    Args:
        options: the model, and how it is loaded and prompted.
        images: how images are fetched and decoded.
    """

    def __init__(self, options: ModelOptions, images: ImageOptions) -> None:
        self._options = options
        self._checkpoint = Checkpoint.open(options.reference)
        self._engine = Engine(self._checkpoint.transform, images)
        task = next((task for task in sorted(self._checkpoint.family.tasks) if task != "embed"), None)
        # A model that does both keeps its two parts apart; the second is loaded when it is needed.
        self._answers = LoadedOptions.for_task(options, self._checkpoint, task) if task else None
        self._embeds = None if task else LoadedOptions.for_task(options, self._checkpoint, "embed")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reference!r}, family={self.family!r}, tasks={self.tasks!r})"

    @property
    def reference(self) -> str:
        """The model as it was named."""
        return self._options.reference

    @property
    def family(self) -> str:
        """The family of the model: `vilt`, `blip-2`, …"""
        return self._checkpoint.family.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its family: `answer`, `caption`, `embed`, `score` (which `tag` needs)."""
        return tuple(sorted(self._checkpoint.family.tasks))

    @property
    def score_meaning(self) -> str:
        """The meaning of the score of an answer, one line."""
        return self._checkpoint.family.score_meaning

    def _loaded(self, task: Task) -> LoadedOptions:
        self._checkpoint.family.require(task, self.reference)
        if task != "embed":
            assert self._answers is not None
            return self._answers
        if self._embeds is None:
            self._embeds = LoadedOptions.for_task(self._options, self._checkpoint, "embed")
        return self._embeds

    def _run(
        self,
        stage: Callable[[pa.Table], Sequence[T]],
        shown: Sequence[object],
        asked: Sequence[Sequence[str]] | None = None,
    ) -> list[T]:
        """Run a stage on images, and on the questions that each brings."""
        columns: dict[str, Sequence[object]] = {"image": shown}
        if asked is not None:
            columns["questions"] = [list(texts) for texts in asked]
        reader = RowReader(list(columns), needs_question=asked is not None)
        batches = self._engine.run(reader.read(columns, len(shown)), stage)
        return [result for batch in batches for result in batch]
