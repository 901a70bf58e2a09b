"""The images of a row as its input brings them: encoded bytes, or a reference that is relative to the input."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.page_refs import document_of
from vqa_ray.readers.coerce import as_reference, mismatch
from vqa_ray.readers.image_root import below
from vqa_ray.readers.local_places import LocalPlaces
from vqa_ray.storage.data_uris import decode_data_uri, is_bare_base64, is_data_uri, short_data_uri

# No store takes longer names or URLs; a cell that holds more is no reference.
MAX_REFERENCE_CHARACTERS = 8192


@dataclass(slots=True)
class ImageRef:
    """One image: its bytes, or where it is, or nothing.

    Attributes:
        data: encoded.
        uri: absolute.
        reference: what it is called where it was named; never a place that changes when the input is copied elsewhere.
    """

    data: bytes | None = None
    uri: str | None = None
    reference: str | None = None

    def identity(self) -> tuple[bytes, ...]:
        """Return the parts of its identity, for a hash."""
        if self.uri is not None and self.reference is not None:
            return b"uri", self.reference.encode()
        return (b"bytes", self.data) if self.data is not None else (b"none",)


class ImageRefResolver:
    """Makes pictures of the values in a file's image columns.

    Args:
        uri: the file; relative references start from its directory.
        root: of the input; references are called by what they are below it.
        reads_images: whether embedded images are there at all; see `InputConfig`.
        image_root: the directory or prefix that references are below, absolute; None for the file's own directory.
        local: the local places that references may lead to; None for any.
    """

    def __init__(
        self,
        uri: str,
        root: str,
        reads_images: bool,
        image_root: str | None = None,
        local: LocalPlaces | None = None,
    ) -> None:
        self._directory = posixpath.dirname(uri)
        self._image_root = image_root
        self._local = local
        root = root.rstrip("/") + "/"
        self._from_root = posixpath.dirname(uri.removeprefix(root)) if uri.startswith(root) else ""
        self._reads_images = reads_images

    def one(self, embedded: tuple[object, str], named: tuple[object, str], errors: list[RowError]) -> ImageRef:
        """Return the image of a row.

        Args:
            embedded: what stands for it in a column of bytes or structs, and the column's name.
            named: what stands for it in a column of references, and the column's name.
            errors: takes what is wrong with them.
        """
        image, path = ImageRef(), None
        before = len(errors)
        value, name = embedded
        if isinstance(value, Mapping) and ("bytes" in value or "path" in value):
            path = _reference((value.get("path"), f"{name}.path"), errors)
            value = value.get("bytes")
        if isinstance(value, bytes):
            image.data = value
        elif value is not None:
            errors.append(mismatch(name, value, "bytes"))
        written = _reference(named, errors)
        if written is None and image.data is None and self._reads_images:
            written = path
        if written is not None:
            try:
                self._locate(image, written, named[1])
            except RowError as error:
                errors.append(error)
        else:
            image.reference = path
        if image.data is None and image.uri is None and self._reads_images and len(errors) == before:
            errors.append(RowError(ErrorCode.IMAGE_MISSING, "the row has no image and no image URI"))
        return image

    def _locate(self, image: ImageRef, written: str, column: str) -> None:
        """Fill in where an image is, or its bytes where a `data:` URI carries them.

        Raises:
            RowError: the reference is malformed, too long, or leads out of the image root or the local places.
        """
        if is_data_uri(written):
            # Until the data is known to be sound: what tells the row apart from others.
            image.uri = image.reference = short_data_uri(written)
            data = decode_data_uri(written)
            image.data, image.uri, image.reference = image.data or data, None, None
            return
        if is_bare_base64(written):
            image.uri = image.reference = short_data_uri(f"data:{written}")
            raise RowError(
                ErrorCode.ROW_MALFORMED,
                f"column {column!r} holds base64, which is no reference; wanted is data:image/jpeg;base64,… or bytes",
            )
        if len(written) > MAX_REFERENCE_CHARACTERS:
            image.uri = image.reference = f"{written[:64]}…{short_data_uri(written).rpartition(';')[2]}"
            reason = f"column {column!r} holds a reference of {len(written)} characters"
            raise RowError(ErrorCode.ROW_MALFORMED, f"{reason}; at most {MAX_REFERENCE_CHARACTERS} are allowed")
        if self._image_root is not None:
            # Until it is known to lie below the root: what tells the row apart from others.
            image.uri = image.reference = written
            image.uri, image.reference = below(self._image_root, written)
        else:
            image.uri = resolve_uri(written, self._directory)
            is_relative = image.uri != written
            image.reference = posixpath.normpath(posixpath.join(self._from_root, written)) if is_relative else written
        if self._local is not None:
            self._local.check(document_of(image.uri))

    def several(self, value: object, name: str, errors: list[RowError]) -> list[ImageRef]:
        """Return the images of a row that brings a list of them: bytes, references or structs of both; one at least.

        Args:
            value: of the column.
            name: of the column.
            errors: takes what is wrong with them.
        """
        if value is not None and not (isinstance(value, Sequence) and not isinstance(value, str | bytes)):
            errors.append(mismatch(name, value, "a list of images"))
            return [ImageRef()]
        if not value:
            errors.append(RowError(ErrorCode.IMAGE_MISSING, f"column {name!r} holds no image"))
            return [ImageRef()]
        nothing = (None, name)
        return [
            self.one(nothing, (each, name), errors)
            if isinstance(each, str) or is_link(each)
            else self.one((each, name), nothing, errors)
            for each in value
        ]


def resolve_uri(written: str, directory: str) -> str:
    """Return an absolute URI: URIs and absolute paths as they are, other references relative to `directory`."""
    if "://" in written or written.startswith(("/", "data:")):
        return written
    scheme, mark, path = directory.rpartition("://")
    return scheme + mark + posixpath.normpath(posixpath.join(path, written))


def is_link(value: object) -> bool:
    """Check whether a value is an image part of a chat message: `{"image_url": {"url": …}}`, `{"url": …}`."""
    return isinstance(value, Mapping) and ("image_url" in value or "url" in value)


def _linked(value: object) -> object:
    while isinstance(value, Mapping) and is_link(value):
        value = value.get("image_url", value.get("url"))
    return value


def _reference(value: tuple[object, str], errors: list[RowError]) -> str | None:
    try:
        return as_reference(_linked(value[0]), value[1])
    except RowError as error:
        errors.append(error)
        return None
