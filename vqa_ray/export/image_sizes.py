"""Width and height of images, from their headers, turned upright."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vqa_ray.errors import RowError
from vqa_ray.images.decoder import ImageLimits, upright_size
from vqa_ray.images.fetch import ImageFetcher

# (width, height) in pixels.
Size = tuple[int, int]


class ImageSizes:
    """Reads sizes of images by their URIs.

    Attributes:
        unknown: the number of images that could not be read so far.
    """

    def __init__(self) -> None:
        self._limits = ImageLimits()
        self._fetcher = ImageFetcher(self._limits.max_image_bytes)
        self.unknown = 0

    def of(self, uris: Iterable[str]) -> Mapping[str, Size]:
        """Return the sizes of images by URI; images that cannot be read are left out."""
        sizes: dict[str, Size] = {}
        for uri, data in self._fetcher.fetch_all(list(uris)).items():
            try:
                if isinstance(data, RowError):
                    raise data
                height, width = upright_size(data, self._limits)
            except RowError:
                self.unknown += 1
            else:
                sizes[uri] = (width, height)
        return sizes
