"""The keys of answers: who answered (context), what the image shows, what was asked.

An image counts by the pixels that the model sees, not by its file: limits, fast decoding, EXIF orientation and the
version of the decoder are in them, and the same photo under another name or in another file format is the same image.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np

from vqa_ray.types import ImageOrImages

# To be raised when the same model, image and question get another answer: when prompts or scores change their meaning.
MEANING = 1
_HALF = 16
KEY_BYTES = 2 * _HALF
_HASHING_THREADS = 8


def context_key(facts: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits over a model and all of its options that decide an answer.

    Args:
        facts: of JSON's types, or objects that are written in full by `repr`.
    """
    return _digest({"meaning": MEANING, **facts}).hex()


@lru_cache(maxsize=4096, typed=True)
def question_key(*facts: object) -> bytes:
    """Return 16 bytes over a question and what it is asked with.

    Args:
        facts: strings, numbers, None and tuples of such: the method of the model, the question, its choices.
    """
    return _digest(facts)


def image_keys(images: list[ImageOrImages]) -> list[bytes]:
    """Return 16 bytes over the pixels of each image, or of each list of images."""
    return list(_pool().map(_image_key, images)) if len(images) > 1 else list(map(_image_key, images))


def _image_key(image: ImageOrImages) -> bytes:
    digest = blake2b(digest_size=_HALF)
    for each in image if isinstance(image, tuple) else (image,):
        digest.update(struct.pack("<3q", *each.shape))
        digest.update(np.ascontiguousarray(each).data)
    return digest.digest()


def _digest(facts: object) -> bytes:
    return blake2b(json.dumps(facts, sort_keys=True, default=repr).encode(), digest_size=_HALF).digest()


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads of this process that hash; BLAKE2 runs beside Python."""
    return ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="hash")
