"""The cache of answers: the questions that a second run asks when its taxonomy has one attribute more."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray import schema
from vqa_ray.cache.answer_cache import AnswerCache, write_news
from vqa_ray.cache.compaction import compact
from vqa_ray.cache.directory import entry_files, open_directory
from vqa_ray.cache.entries import CacheUsage, Entry
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.taxonomy import Taxonomy

_ROWS, _ATTRIBUTES, _SEED, _SIDE, _BATCH = 20_000, 8, 7_000_004, 8, 32
_CHOICES = ["red", "green", "blue", "black"]
_ENTRIES, _KEYS, _ROUNDS = 400_000, 2_048, 20
_UNBOUNDED = 2**62


class _Run(NamedTuple):
    rows: pa.Table
    usage: CacheUsage
    seconds: float


def measure(settings: Settings) -> Measured:
    """Questions of three runs of the tag stage, whether their tags are those without a cache, and speed of lookups."""
    rows = settings.pick(_ROWS, 100)
    batches = [_table(range(start, min(rows, start + _BATCH))) for start in range(0, rows, _BATCH)]
    uri = str(settings.scratch / "cache")
    open_directory(uri)
    plain = _tag(batches, _ATTRIBUTES, None)
    first = _tag(batches, _ATTRIBUTES - 1, uri)
    second, again = (_tag(batches, _ATTRIBUTES, uri) for _ in range(2))
    wrong = sum(not each.rows.equals(plain.rows) for each in (second, again))
    share = second.usage.misses / rows / _ATTRIBUTES
    found_per_s, bytes_each = _lookups(settings.scratch / "large", settings.pick(_ENTRIES, 10_000))
    return Measured(
        [
            figure(f"{rows:,} images, {_ATTRIBUTES - 1} attributes: questions asked", [float(first.usage.misses)]),
            figure("an attribute added: questions asked of all", [share], at_most=1 / 6),
            figure("the same again: questions asked", [float(again.usage.misses)], at_most=0),
            figure("runs whose tags differ from those without a cache", [float(wrong)], at_most=0),
            figure(
                "seconds where all is found, to those of a model that takes none", [again.seconds / plain.seconds], "×"
            ),
            figure("answers found in a cache of 400,000", [found_per_s], "/s"),
            figure("bytes of an answer", [bytes_each]),
        ],
        [
            "Images of noise, the stage of `tag` alone on the fake model, which takes no time: figures are questions. "
            "Lookups by one process in a merged cache on the local disk, of random images with eight questions each.",
        ],
    )


def _table(numbers: Sequence[int]) -> pa.Table:
    """Make DECODED rows of images that all differ."""
    rows = [
        {
            "source_key": number,
            "row_id": number,
            "image_key": number,
            "pixels": np.random.default_rng(_SEED + number).bytes(_SIDE * _SIDE * 3),
            **dict.fromkeys(("height", "width", "source_height", "source_width"), _SIDE),
            "status": schema.STATUS_OK,
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(rows, schema.DECODED)


def _tag(batches: Sequence[pa.Table], attributes: int, uri: str | None) -> _Run:
    """Tag all batches; as a run does, write new answers in files of some batches, and merge the files."""
    asked = [{"name": f"a{n}", "question": f"colour {n}?", "choices": _CHOICES} for n in range(attributes)]
    cache = None if uri is None else AnswerCache(uri)
    stage = TagStage(TagConfig(ModelOptions("fake:", cache=cache), Taxonomy.model_validate({"attributes": asked})))
    begun, usage, tables = time.perf_counter(), CacheUsage(), []
    for number, table in enumerate(batches, start=1):
        tables.append(stage(table))
        if cache is not None and (number % 40 == 0 or number == len(batches)):
            usage += write_news(cache.uri, [cache.take_news()])
    seconds = time.perf_counter() - begun
    if uri is not None:
        compact(uri, _UNBOUNDED)
    return _Run(pa.concat_tables(tables), usage, seconds)


def _lookups(directory: Path, count: int) -> tuple[float, float]:
    """Answers found a second, and bytes of an answer."""
    uri, drawn = str(directory), np.random.default_rng(_SEED)
    open_directory(uri)
    questions = [drawn.bytes(16) for _ in range(8)]
    images = [drawn.bytes(16) for _ in range(count // len(questions))]
    for part in np.array_split(np.arange(len(images)), 20):
        cache = AnswerCache(uri)
        entries = {
            images[at] + question: Entry(json.dumps({"scores": drawn.random(8).tolist()}), 0.01)
            for at in part.tolist()
            for question in questions
        }
        cache.record("0" * 32, entries, CacheUsage())
        write_news(uri, [cache.take_news()])
    compact(uri, _UNBOUNDED)
    cache, found = AnswerCache(uri), 0
    wanted = [
        [
            images[at] + question
            for at in drawn.integers(len(images), size=_KEYS // 8).tolist()
            for question in questions
        ]
        for _ in range(_ROUNDS + 1)
    ]
    cache.find("0" * 32, wanted.pop())
    begun = time.perf_counter()
    for keys in wanted:
        found += len(cache.find("0" * 32, keys))
    seconds = time.perf_counter() - begun
    return found / seconds, sum(entry.size_bytes for entry in entry_files(uri)) / count
