"""Members of a tar, streamed: damaged headers are passed over, and links within the tar are followed."""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Self, cast

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.bookkeeping import is_bookkeeping
from vqa_ray.readers.damage import is_stored
from vqa_ray.readers.formats.tar_samples import Member, is_deferred, member_name
from vqa_ray.readers.sniff import is_image
from vqa_ray.readers.suffixes import counted_kinds, suffix_of

MAX_MEMBER_BYTES = 256 * 2**20
_HEAD_BYTES = 64
_MOST_LINKS = 40


@dataclass(slots=True)
class Remarks:
    """Observations on the way through a tar.

    Attributes:
        gaps: a message for each damaged stretch that was met since the list was last emptied.
        deferred: images whose rows come after all others.
        deferred_sidecars: names of members that may speak of these.
        adopted: names of deferred images that are part of a sample of the first pass.
        unused: suffix → number of members that are neither an image nor speak of one.
        examples: suffix → a name of these.
    """

    gaps: list[str] = field(default_factory=list)
    deferred: int = 0
    deferred_sidecars: list[str] = field(default_factory=list)
    adopted: set[str] = field(default_factory=set)
    unused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, name: str) -> None:
        """Count a member that is not read."""
        self.unused[suffix_of(name)] += 1
        self.examples.setdefault(suffix_of(name), name)

    def left_out(self) -> str:
        """Return counts by suffix, with an example of each; empty for none."""
        return counted_kinds(self.unused, self.examples) if self.unused else ""


class _Header(tarfile.TarInfo):
    """A member's header, which knows how many damaged bytes precede it."""

    skipped_bytes = 0

    @classmethod
    def fromtarfile(cls, tar: Any) -> Self:
        """Read the next header.

        Where `tarfile` would take a damaged header or a cut-off file for the end, this goes on to the next sound
        header, and raises at the end of a file that has no end mark.
        """
        if tar.is_nested:
            return super().fromtarfile(tar)
        skipped, at_end = 0, False
        while True:
            tar.is_nested = True
            try:
                header = super().fromtarfile(tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                at_end = True
            except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
                if skipped:
                    raise tarfile.ReadError(f"its last {skipped} bytes are not tar") from None
                if isinstance(error, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
                    raise tarfile.ReadError("it ends in the middle of a header") from None
                if at_end:
                    raise tarfile.EOFHeaderError("end of file header") from None  # type: ignore[attr-defined]
                raise tarfile.ReadError("it ends without an end-of-archive mark; it may be cut off") from None
            except tarfile.HeaderError:
                skipped += tarfile.BLOCKSIZE
            else:
                if header.size < 0:
                    raise tarfile.ReadError(f"the header of {header.name!r} gives a size below 0")
                header.skipped_bytes = skipped
                return header
            finally:
                tar.is_nested = False


class _Tar(tarfile.TarFile):
    tarinfo = _Header
    is_nested = False


def members_of(
    file: BinaryIO, remarks: Remarks, *, deferred: bool = False, reads_images: bool = True, follows_links: bool = True
) -> Iterator[Member]:
    """Read the members of a tar that may belong to samples.

    Args:
        file: the tar, at its beginning.
        remarks: filled on the way.
        deferred: whether to give the deferred members; else all others, and those of the deferred that are known for
            images by their contents alone.
        reads_images: whether the contents of images are read.
        follows_links: whether links are; else they have no contents.

    Raises:
        tarfile.TarError, OSError: the rest cannot be read.
    """
    with ExitStack() as opened, _Tar.open(fileobj=file, mode="r:") as tar:
        links = _Links(file, opened) if follows_links else None
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            skipped = cast("_Header", header).skipped_bytes
            if skipped and not deferred:
                remarks.gaps.append(f"a damaged tar header; {skipped} bytes before {header.name!r} were skipped")
            member = Member(*member_name(header.name), is_deferred=is_deferred(header.name))
            if header.isdir() or (member.is_deferred and any(map(is_bookkeeping, header.name.split("/")))):
                continue
            if not member.is_deferred:
                if not deferred:
                    yield _read(tar, header, member, links, reads_images)
            elif deferred:
                member.is_deferred = False
                if _read(tar, header, member, links, reads_images).is_known:
                    yield member
            elif member.is_image or member.is_sidecar:
                remarks.deferred += member.is_image
                if member.is_sidecar:
                    remarks.deferred_sidecars.append(member.name)
            elif _read(tar, header, member, links, reads_images).holds_image:
                remarks.deferred += 1
                yield member
            else:
                remarks.leave_out(header.name)


def _read(
    tar: tarfile.TarFile, header: tarfile.TarInfo, member: Member, links: _Links | None, reads_images: bool
) -> Member:
    contents: tuple[BinaryIO, int] | None = None
    if header.isreg():
        contents = cast("BinaryIO", tar.extractfile(header)), header.size
    elif header.islnk() or header.issym():
        if links is None:
            return member
        contents = links.follow(header)
    if contents is None:
        link = f"a link to {header.linkname!r}, which leads to no file of this tar"
        member.problem = RowError(ErrorCode.IMAGE_MISSING, f"is {link if header.linkname else 'a special file'}")
        return member
    file, size = contents
    if not member.is_image and not member.is_sidecar:
        start = file.tell()
        member.holds_image = is_image(file.read(min(size, _HEAD_BYTES)))
        file.seek(start)
    if not member.is_known:
        return member
    if size > MAX_MEMBER_BYTES:
        member.problem = RowError(ErrorCode.IMAGE_TOO_LARGE, f"has {size} bytes; at most {MAX_MEMBER_BYTES} are read")
    elif reads_images or member.is_sidecar:
        member.data = file.read(size)
    return member


class _Links:
    """Leads from the links of a tar to its files, which are listed when the first link occurs.

    A compressed tar is unpacked into a temporary file for that: each step back would unpack it anew.
    """

    def __init__(self, file: BinaryIO, opened: ExitStack) -> None:
        """Keep the tar open.

        Args:
            file: the tar.
            opened: closes the temporary file.
        """
        self._file = file
        self._opened = opened
        self._places: dict[str, list[_Place]] | None = None

    def follow(self, header: tarfile.TarInfo) -> tuple[BinaryIO, int] | None:
        """Find the file that a link leads to, through other links of the tar, as many as Linux follows.

        Returns:
            (a file at the beginning of the contents, their size); None where the tar holds no such file.
        """
        if self._places is None:
            self._places = self._list()
        place: _Place | None = _Place.of(header)
        for _ in range(_MOST_LINKS):
            if place is None or not place.target:
                break
            place = self._next(place)
        if place is None or place.target:
            return None
        self._file.seek(place.data_offset)
        return self._file, place.size

    def _next(self, link: _Place) -> _Place | None:
        assert self._places is not None, "listed"
        found = reversed(self._places.get(link.target, []))
        # A hard link leads to what stood under the name when the link was made, a symbolic one to the last.
        return next((one for one in found if not link.is_hard or one.offset < link.offset), None)

    def _list(self) -> dict[str, list[_Place]]:
        if not is_stored(self._file):
            copy = cast("BinaryIO", self._opened.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
            with suppress(EOFError):
                self._file.seek(0)
                shutil.copyfileobj(self._file, copy)
            self._file = copy
        self._file.seek(0)
        places: dict[str, list[_Place]] = {}
        # Of a damaged tar, what comes before the damage can be reached.
        with suppress(tarfile.TarError), _Tar.open(fileobj=self._file, mode="r:") as tar:
            while (header := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]
                if header.islnk() or header.issym() or (header.isreg() and not header.issparse()):
                    places.setdefault(posixpath.normpath(header.name), []).append(_Place.of(header))
        return places


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or a link of a tar.

    Attributes:
        offset: of its header.
        data_offset, size: of the contents of a file.
        target: the name in the tar that a link leads to; empty for a file.
        is_hard: whether the link is a hard one.
    """

    offset: int
    data_offset: int
    size: int
    target: str = ""
    is_hard: bool = False

    @classmethod
    def of(cls, header: tarfile.TarInfo) -> Self:
        """Return the place of a member."""
        target = ""
        if header.islnk() or header.issym():
            above = posixpath.dirname(header.name) if header.issym() else ""
            target = posixpath.normpath(posixpath.join(above, header.linkname))
        return cls(header.offset, header.offset_data, header.size, target, header.islnk())
