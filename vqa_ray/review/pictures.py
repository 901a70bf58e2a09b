"""Pictures of the rows under review; images embedded in the input become files beside the labels."""

from __future__ import annotations

import threading
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from vqa_ray.browse.dataset import Collection
from vqa_ray.browse.originals import LARGE_SIDE
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.formats import identify
from vqa_ray.images.thumbnail import preview
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import fsspec_for


class ReviewPictures:
    """Large previews by the position of a row. Thread-safe.

    A training needs the image that was looked at, which the label can name only where it is a file: the embedded ones
    are written to `NAME.images/` beside a local label file `NAME`.

    Args:
        collection: the run.
        labels: URI of the label file.
    """

    def __init__(self, collection: Collection, labels: str) -> None:
        self._collection = collection
        filesystem, path = fsspec_for(labels)
        self._folder = Path(f"{path}.images") if isinstance(filesystem, LocalFileSystem) else None
        self._files: dict[int, str] = {}
        self._reading = threading.Lock()

    def uri(self, position: int) -> str | None:
        """Return the file of an embedded image that was shown; None for none."""
        return self._files.get(position)

    def jpeg(self, position: int) -> bytes:
        """Return a preview of the image of a row.

        Raises:
            RowError: the image is not available.
        """
        row = self._collection.take([position])[0]
        if row.get("image_uri") or self._folder is None:
            return self._collection.originals.preview(position, LARGE_SIDE).jpeg
        with self._reading:
            data = self._embedded(position)
        return preview(data, LARGE_SIDE).jpeg

    def _embedded(self, position: int) -> bytes:
        """Read an embedded image, once from the input and then from its file."""
        if position in self._files:
            return Path(self._files[position]).read_bytes()
        data = self._collection.originals.read(position)
        assert self._folder is not None
        key = self._collection.rows["source_key"][position].as_py()
        file = self._folder / f"{key}.{identify(data).lower()}"
        try:
            write_bytes_atomic(str(file), data)
        except OSError as error:
            raise RowError(ErrorCode.IMAGE_MISSING, f"{file}: cannot be written: {error}") from error
        self._files[position] = str(file.resolve())
        return data
