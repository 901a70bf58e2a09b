"""The most recent query images, kept in memory."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.thumbnail import preview

_MAX_IMAGES = 8
_TOKEN_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class QueryImage:
    """A query image.

    Attributes:
        data: the encoded file.
        thumbnail: a small JPEG of it.
    """

    data: bytes
    thumbnail: bytes


class Uploads:
    """Query images by token, a hash of their bytes; the least recently used are dropped. Thread-safe."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._images: OrderedDict[str, QueryImage] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes) -> str:
        """Keep an image and return its token.

        Raises:
            RowError: the image cannot be decoded or exceeds the limits.
        """
        small = preview(data, limits=self._limits).jpeg
        token = hashlib.sha256(data).hexdigest()[:_TOKEN_CHARACTERS]
        with self._lock:
            self._images[token] = QueryImage(data, small)
            self._images.move_to_end(token)
            while len(self._images) > _MAX_IMAGES:
                self._images.popitem(last=False)
        return token

    def get(self, token: str) -> QueryImage:
        """Return the image of a token.

        Raises:
            RequestError: no such image is kept, or it was dropped.
        """
        with self._lock:
            if token not in self._images:
                raise RequestError("the query image is no longer kept; send it again")
            self._images.move_to_end(token)
            return self._images[token]
