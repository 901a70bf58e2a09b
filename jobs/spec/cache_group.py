"""The options of the answer cache."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vqa_ray.jobs.spec.field import Spec, option


class CacheGroup(Spec):
    """A cache of answers that runs and people share."""

    group: ClassVar[str] = "Cache"

    cache: str | None = option(
        "Directory or prefix of answers that runs share: what the model was asked before is not asked again.",
        None,
        unit="URI",
        affects_result=False,
    )
    cache_max_bytes: int = option(
        "Largest size of the cache; beyond it, the oldest answers are deleted.",
        20 * 2**30,
        unit="BYTES",
        ge=1,
        affects_result=False,
    )

    @model_validator(mode="after")
    def _check_cache(self) -> CacheGroup:
        if self.cache is None and "cache_max_bytes" in self.model_fields_set:
            raise ValueError("--cache-max-bytes goes with --cache")
        return self
