"""The part that all callables share: settings, lazy loading, batches in and out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.api.batches import as_batch
from vqa_ray.api.endpoint import EndpointSettings
from vqa_ray.api.engine import Engine, ImageOptions, LoadedOptions, Stage
from vqa_ray.api.rows import RowReader
from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.registry import Task
from vqa_ray.readers.listing import absolute
from vqa_ray.stages.image_metadata import DescribeImages

# Columns of a run's rows that mean nothing in a batch, whose rows have names of their own.
_OF_RUNS = (*(field.name for field in schema.IDENTITY), "image_uri", "attempt", "source_key")


class Settings(TypedDict, total=False):
    """Settings of every callable.

    Attributes:
        columns: our column (`image`, `image_uri`, `images`, `question`, `questions`, `context`) → the batch's own name
            for it, where they differ.
        image_root: the directory or prefix that image references are relative to and must stay below; without, relative
            ones are resolved against the working directory of the process that made the object.
        prefix: the beginning of the names of all new columns, for batches that have some of these names already.
        batch_size: images that go to the model at once; 32 without.
        device, dtype, compile: see `vqa_ray.load`.
        allow_http: fetch http:// and https:// images; refused without.
        limits: the limits of an image: bytes, pixels, sides, frames.
        fast_decode: decode JPEG at a fraction of its size that still covers the model's.
        base_url, endpoint: of a model `openai:NAME`, see `vqa_ray.load`; its batches also get the columns
            `prompt_tokens`, `completion_tokens` and `cost`.
    """

    columns: Mapping[str, str]
    image_root: str | None
    prefix: str
    batch_size: int
    device: str | None
    dtype: str | None
    compile: bool
    allow_http: bool
    limits: ImageLimits | None
    fast_decode: bool
    base_url: str | None
    endpoint: EndpointSettings | None


@dataclass(frozen=True, slots=True)
class _Session:
    """A loaded model.

    Attributes:
        engine: fetches and decodes images.
        stage: holds the model.
        columns: the columns of the stage, without those of runs.
        takes_several: a row may bring several images.
    """

    engine: Engine
    stage: Stage
    columns: pa.Schema
    takes_several: bool


class BatchCallable(ABC):
    """Batch in, batch out; the model is loaded by the first call, so that the object pickles small.

    A batch is a pyarrow Table or RecordBatch, a pandas DataFrame, a mapping of column names to arrays or lists, or an
    iterator of these; it comes back in the same form, its own columns first, with as many rows in the same order. An
    image is a column `image` (bytes, Hugging Face's struct, arrays, PIL images) or `image_uri`. A row that cannot be
    answered has `status` `error`, with `error_code` and `error_message`.

    Args:
        task: the task that the model must be able to do.
        options: the model, and how it is loaded and prompted.
        questions: the questions to ask of every image; empty takes the questions of the batch.
        needs_question: ask questions; False for tasks that need none.
        settings: see `Settings`.
    """

    def __init__(
        self,
        task: Task,
        options: ModelOptions,
        questions: Sequence[str] = (),
        *,
        needs_question: bool = False,
        columns: Mapping[str, str] | None = None,
        image_root: str | None = None,
        prefix: str = "",
        batch_size: int = 32,
        allow_http: bool = False,
        limits: ImageLimits | None = None,
        fast_decode: bool = False,
    ) -> None:
        self._task = task
        self._options = options
        self._questions = tuple(questions)
        self._needs_question = needs_question
        self._columns = dict(columns or {})
        self._image_root = None if image_root is None else absolute(image_root)
        self._directory = str(Path.cwd())
        self._prefix = prefix
        self._images = ImageOptions(limits or ImageLimits(), allow_http, fast_decode, batch_size)
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_session", "_readers")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._lock = Lock()
        self._session: _Session | None = None
        self._readers: dict[tuple[str, ...], RowReader] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._options.reference!r})"

    def __call__(self, batch: Any) -> Any:
        """Answer a batch.

        Raises:
            RequestError: the model cannot be loaded or cannot do this, a column is missing, or a column that would be
                added is there already.
        """
        if isinstance(batch, Iterator):
            return map(self, batch)
        given = as_batch(batch)
        session = self._opened()
        reader = self._reader(given.names, session)
        wanted = self._added(session.columns, reader)
        taken = [self._prefix + name for name in wanted if self._prefix + name in given.names]
        if taken:
            raise RequestError(
                f"the batch has columns of these names already: {', '.join(taken)}; rename them, or name the new ones "
                "with prefix='…'"
            )
        columns = {name: given.values(name) for name in reader.needed}
        results = session.engine.run(reader.read(columns, given.rows), session.stage)
        form = pa.schema([*session.columns, schema.SOURCE_KEY])
        table = pa.concat_tables([form.empty_table(), *(result.select(form.names).cast(form) for result in results)])
        places = table[schema.SOURCE_KEY.name].to_numpy()
        added = table.select(wanted).rename_columns([self._prefix + name for name in wanted])
        return given.with_columns(added, None if np.array_equal(places, np.arange(given.rows)) else places)

    @abstractmethod
    def _open(self, checkpoint: Checkpoint, loaded: LoadedOptions) -> Stage:
        """Put the model into a stage."""

    def _describe(self) -> DescribeImages | None:
        return None

    def _added(self, columns: pa.Schema, reader: RowReader) -> list[str]:
        """List the columns that a batch gets."""
        return list(columns.names)

    def _opened(self) -> _Session:
        with self._lock:
            if self._session is None:
                checkpoint = Checkpoint.open(self._options.reference)
                loaded = LoadedOptions.for_task(self._options, checkpoint, self._task)
                engine = Engine(checkpoint.transform, self._images, self._describe())
                stage = self._open(checkpoint, loaded)
                (nothing,) = engine.run([schema.READ.empty_table()], stage)
                columns = pa.schema([field for field in nothing.schema if field.name not in _OF_RUNS])
                self._session = _Session(engine, stage, columns, checkpoint.family.takes_several)
            return self._session

    def _reader(self, names: Sequence[str], session: _Session) -> RowReader:
        key = tuple(names)
        if key not in self._readers:
            self._readers[key] = RowReader(
                key,
                self._columns,
                self._questions,
                needs_question=self._needs_question,
                image_root=self._image_root,
                directory=self._directory,
                reads_several=session.takes_several and self._task == "answer",
            )
        return self._readers[key]
