"""What several test packages share: one local Ray per test process, and an S3 endpoint."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers.faulty_store import FaultyStore, faulty_s3

# No test is timed: on a busy machine any example may take long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Ray's own, on every use and where it leaves processes to end, and Lance's where a process that imported it forks.
_WARNINGS_OF_OTHERS = (
    "ignore::DeprecationWarning:ray",
    "ignore:`target_shuffle_max_block_size`:UserWarning",
    r"ignore:subprocess \d+ is still running:ResourceWarning",
    "ignore:lance is not fork-safe:UserWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Except, by name, the warnings that are not ours to mend."""
    for warning in _WARNINGS_OF_OTHERS:
        config.addinivalue_line("filterwarnings", warning)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold long tests, by their time-outs: one that comes last keeps a single core busy."""
    longest: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0.0), marker.args[0] if marker else 0.0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """A command that ran in this process sends our messages to standard error; `caplog` should find them again."""
    ours = [logging.getLogger("vqa_ray")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in ours]
    if "vqa_ray.jobs.runtime.logs" in sys.modules:
        # Descriptor 2 is another one in each test that captures it.
        sys.modules["vqa_ray.jobs.runtime.logs"].console.cache_clear()
    yield
    for logger, (handlers, level, propagate) in zip(ours, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def _s3_session() -> Iterator[tuple[str, FaultyStore]]:
    with faulty_s3("flow") as (uri, store):
        yield uri, store


@pytest.fixture(scope="session")
def s3_session(_s3_session: tuple[str, FaultyStore]) -> str:
    """URI of a bucket on a loopback endpoint. Started before Ray, whose workers inherit the environment."""
    return _s3_session[0]


@pytest.fixture
def s3_faults(_s3_session: tuple[str, FaultyStore]) -> Iterator[FaultyStore]:
    """What fails at the endpoint of `s3_session`, during one test."""
    yield _s3_session[1]
    _s3_session[1].heal()


@pytest.fixture(scope="session")
def local_ray(s3_session: str) -> Iterator[None]:
    """A Ray with four logical CPUs, started as commands start theirs; those that run in this process use it."""
    import ray

    from vqa_ray.jobs.runtime.cluster import local
    from vqa_ray.pipelines.local_execution import no_helper_actors

    with pytest.MonkeyPatch.context() as patch, no_helper_actors():
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        local.start(num_cpus=4, object_store_memory=512 * 2**20, logging_level=logging.ERROR)
        yield
        ray.shutdown()
