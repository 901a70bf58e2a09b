"""`--exclude-images`: the contents of images that nothing may be written about."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.jobs.runtime.progress import announce_when_slow
from vqa_ray.jobs.spec.instruct import InstructSpec
from vqa_ray.readers import InputConfig, open_source, read_shard
from vqa_ray.stages.decode import image_key
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.storage.uri import redacted_uri

logger = logging.getLogger(__name__)


def excluded_images(spec: InstructSpec) -> frozenset[int]:
    """Read all images of the inputs that a spec excludes; return the key of the contents of each.

    Raises:
        RequestError: an input cannot be read, or holds no image that can be.
    """
    keys: set[int] = set()
    fetcher = ImageFetcher(spec.max_image_bytes, allow_http=spec.allow_http)
    for uri in spec.exclude_images:
        with announce_when_slow(f"reading the images of --exclude-images {redacted_uri(uri)}"):
            try:
                found = list(_keys(uri, tuple(spec.allow_local), fetcher))
            except RequestError as error:
                raise RequestError(f"--exclude-images: {error}") from error
        known = [key for key in found if key is not None]
        if not known:
            raise RequestError(f"--exclude-images {redacted_uri(uri)}: none of its images can be read")
        if len(known) < len(found):
            missing = counted(len(found) - len(known), "image")
            logger.warning("--exclude-images %s: nothing is excluded by %s that cannot be read", uri, missing)
        keys.update(known)
    return frozenset(keys)


def fingerprint_of(keys: frozenset[int]) -> str:
    """Return a hash of a set of keys."""
    return hashlib.sha256(repr(sorted(keys)).encode()).hexdigest()[:16]


def _keys(uri: str, allow_local: tuple[str, ...], fetcher: ImageFetcher) -> Iterator[int | None]:
    source = open_source(InputConfig(uri, needs_question=False, reads_several=True, allow_local=allow_local))
    fetch = FetchImages(fetcher)
    for shard in source.shards:
        for table in read_shard(source, shard):
            for row in fetch(table).select(["image", "extra_images"]).to_pylist():
                for data in (row["image"], *_further(row["extra_images"])):
                    yield None if data is None else image_key(data)


def _further(images: Sequence[dict[str, bytes | None]] | None) -> list[bytes | None]:
    return [each["image"] for each in images or ()]
