"""The cache of answers of a run: checked before any work, kept small, described in a line of the summary."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vqa_ray.cache.answer_cache import AnswerCache, write_news
from vqa_ray.cache.compaction import compact
from vqa_ray.cache.directory import open_directory
from vqa_ray.cache.entries import CacheUsage
from vqa_ray.durations import duration
from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.cache_group import CacheGroup
from vqa_ray.jobs.spec.field import Spec
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.storage.canonical import is_same_place, path_below
from vqa_ray.storage.store_errors import store_failures, store_reason

logger = logging.getLogger(__name__)


def cache_of(spec: Spec) -> AnswerCache | None:
    """Return the cache that a spec names; None where it names none."""
    return AnswerCache(spec.cache) if isinstance(spec, CacheGroup) and spec.cache else None


@contextmanager
def compacted_cache(spec: Spec) -> Iterator[None]:
    """Check the cache of a spec, and merge its files and delete its oldest answers before and after the block.

    Raises:
        RequestError: its directory holds something else, or cannot be read or written.
    """
    if not isinstance(spec, CacheGroup) or not spec.cache:
        yield
        return
    refuse_inside_output("--cache", spec.cache)
    if isinstance(spec, RunSpec) and _is_within(spec.cache, spec.output):
        raise RequestError(f"--cache {spec.cache}: lies in --output {spec.output}; wanted a directory outside of it")
    open_directory(spec.cache)
    _compact(spec.cache, spec.cache_max_bytes)
    yield
    _compact(spec.cache, spec.cache_max_bytes)


def _is_within(uri: str, directory: str) -> bool:
    return is_same_place(uri, directory) or path_below(uri, directory) is not None


def _compact(uri: str, max_bytes: int) -> None:
    try:
        compact(uri, max_bytes)
    except store_failures() as error:
        logger.warning("the cache %s stays as it is: %s", uri, store_reason(error, named=True))


def keep_answers(cache: AnswerCache | None) -> None:
    """Write the new answers of this process, and log what the cache was good for; None is no cache."""
    if cache is not None:
        logger.info("%s", summary_line(recorded(cache.uri, write_news(cache.uri, [cache.take_news()]))).strip())


def recorded(uri: str, usage: CacheUsage) -> dict[str, Any]:
    """Return the entry of a manifest."""
    problem = {"problem": usage.problem} if usage.problem else {}
    return {"uri": uri, "hits": usage.hits, "misses": usage.misses, "saved_s": round(usage.saved_s, 3), **problem}


def summary_line(entry: Mapping[str, Any]) -> str:
    """Describe the entry of a manifest for a person."""
    asked = entry["hits"] + entry["misses"]
    share = f" ({entry['hits'] / asked:.0%})" if asked else ""
    line = f"  cache: {entry['hits']:,} of {asked:,} questions answered without the model{share}"
    line += f": {duration(entry['saved_s'])} saved" if entry["saved_s"] >= 1 else ""
    return line + (f"; {entry['problem']}" if "problem" in entry else "")
