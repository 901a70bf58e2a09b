"""The last images that were sent to search by, kept in memory."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.images.decode import ImageLimits
from vqa_ray.images.thumbnail import preview

_TOKEN_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class QueryImage:
    """An image to search by.

    Attributes:
        data: the encoded file.
        thumbnail: a small JPEG of it.
    """

    data: bytes
    thumbnail: bytes


class Uploads:
    """Query images by token, which is a hash of their bytes; the ones not used for longest are forgotten.

    Safe to use from several threads.

    Args:
        limits: what an image may cost.
        kept: how many.
    """

    def __init__(self, limits: ImageLimits, kept: int = 8) -> None:
        self._limits = limits
        self._kept = kept
        self._images: OrderedDict[str, QueryImage] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes) -> str:
        """Keep an image; gives its token.

        Raises:
            RowError: it cannot be decoded, or is too large.
        """
        small = preview(data, limits=self._limits).jpeg
        token = hashlib.sha256(data).hexdigest()[:_TOKEN_CHARACTERS]
        with self._lock:
            self._images[token] = QueryImage(data, small)
            self._images.move_to_end(token)
            while len(self._images) > self._kept:
                self._images.popitem(last=False)
        return token

    def get(self, token: str) -> QueryImage:
        """The image of a token.

        Raises:
            RequestError: it is not kept, or no longer.
        """
        with self._lock:
            if token not in self._images:
                raise RequestError("the image to search by is no longer held: send it again")
            self._images.move_to_end(token)
            return self._images[token]
