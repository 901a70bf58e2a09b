"""The line of a summary on the cache of answers."""

from __future__ import annotations

import pytest

from vqa_ray.cache.entries import CacheUsage
from vqa_ray.jobs.runtime.answer_cache import recorded, summary_line


@pytest.mark.parametrize(
    ("usage", "line"),
    [
        (CacheUsage(), "  cache: 0 of 0 questions answered without the model"),
        (CacheUsage(0, 40), "  cache: 0 of 40 questions answered without the model (0%)"),
        (
            CacheUsage(3_000, 1_000, 75.0),
            "  cache: 3,000 of 4,000 questions answered without the model (75%): 1 min 15 s saved",
        ),
        (CacheUsage(1, 0, 0.1, "s3://b/c: cannot be written: no"), "(100%); s3://b/c: cannot be written: no"),
    ],
)
def test_the_summary_says_what_the_cache_was_good_for(usage: CacheUsage, line: str) -> None:
    assert line in summary_line(recorded("s3://b/c", usage))
