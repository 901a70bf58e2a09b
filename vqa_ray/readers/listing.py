"""The files behind an input URI: patterns, and which format their names speak of."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.readers.base import FORMATS, Format, refuse, told
from vqa_ray.storage import FileEntry, exists, fsspec_for, list_files, scheme_of

IMAGE_SUFFIXES = frozenset(
    {"apng", "avif", "avifs", "bmp", "dib", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpc", "jpe", "jpeg"}
    | {"jpf", "jpg", "jpx", "mpo", "pbm", "pcx", "pgm", "png", "pnm", "ppm", "psd", "tga", "tif", "tiff", "webp"}
)
_SUFFIXES: Mapping[Format, Collection[str]] = {
    "parquet": ("parquet", "pq"),
    "webdataset": ("tar", "tar.gz", "tgz"),
    "jsonl": ("jsonl", "jsonl.gz", "ndjson", "ndjson.gz"),
    "csv": ("csv", "csv.gz", "tsv", "tsv.gz"),
    "images": IMAGE_SUFFIXES,
}
_KINDS = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
_VQA_V2 = re.compile(r"OpenEnded[^/]*questions\.json$")
# The table beside the images of a folder, as Hugging Face's ImageFolder names it.
_METADATA = re.compile(r"(?:^|/)metadata\.(?:csv|jsonl|parquet)$")
HUB_PARQUET = re.compile(r"(?:^|/)(?P<split>[\w.]+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet$")
_WILD = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of an input.

    Attributes:
        uri: as it was asked for.
        root: the absolute directory or prefix that all of them lie under.
        entries: sorted by path.
        is_file: the URI names one file, which is then taken whatever its name.
        fragment: what stood after `#`: the split of a Hugging Face dataset.
    """

    uri: str
    root: str
    entries: tuple[FileEntry, ...]
    is_file: bool = False
    fragment: str = ""

    def relative(self, entry: FileEntry) -> str:
        """The path below `root`."""
        return entry.uri.removeprefix(self.root.rstrip("/") + "/")

    def of(self, kind: Format) -> tuple[FileEntry, ...]:
        """The files whose names fit `kind`.

        Raises:
            RequestError: none does.
        """
        if self.is_file:
            return self.entries
        fitting = tuple(entry for entry in self.entries if kind_of(entry.uri) == kind)
        if not fitting:
            raise refuse(f"{self.uri}: holds no {kind} files; found {self.found()}")
        return fitting

    def found(self) -> str:
        """What is there, by suffix, for a message."""
        counts = Counter(posixpath.splitext(entry.uri)[1].lower() or "no suffix" for entry in self.entries)
        return ", ".join(f"{count} × {suffix}" for suffix, count in counts.most_common(8)) or "no files"


def list_input(uri: str) -> Listing:
    """List an input.

    Raises:
        RequestError: nothing is there, or nothing fits the pattern.
    """
    base, _, fragment = uri.partition("#")
    if fragment and not exists(uri) and exists(base):
        listing = list_input(base)
        return Listing(uri, listing.root, listing.entries, listing.is_file, fragment)
    if re.search(r"[*?\[{]", uri) and not exists(uri):
        return _list_pattern(uri)
    root = absolute(uri)
    entries = tuple(list_files(root))
    if not entries:
        raise refuse(f"{uri}: the input is empty: no files are there")
    if len(entries) == 1 and entries[0].uri == root:
        return Listing(uri, posixpath.dirname(root), entries, is_file=True)
    return Listing(uri, root, entries)


def absolute(uri: str) -> str:
    """`uri` as listings spell it: absolute, without `..`, no trailing slash, no `file://`."""
    filesystem, path = fsspec_for(uri)
    if scheme_of(uri) == "file":
        return posixpath.normpath(path)
    return str(filesystem.unstrip_protocol(path)).rstrip("/")


def kind_of(name: str) -> Format | None:
    """The format that a file's name speaks of, or None."""
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() == "gz":
        suffix = f"{stem.rpartition('.')[2]}.gz"
    known = _KINDS.get(suffix.lower()) if stem else None
    return "vqa-v2" if known is None and _VQA_V2.search(name) else known


def guess_format(listing: Listing) -> Format:
    """The format of an input.

    Raises:
        RequestError: the files are of several formats, or of none that is known.
    """
    allowed = f"choose with --input-format: {', '.join(FORMATS)}"
    if is_saved_dataset(listing):
        return "hf"
    kinds = Counter(kind for entry in listing.entries if (kind := kind_of(entry.uri)))
    if not kinds:
        raise refuse(f"{listing.uri}: cannot tell the format; found {listing.found()}; {allowed}")
    if len(kinds) == 2 and (table := _metadata_kind(listing)):
        return table
    if len(kinds) > 1:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise refuse(f"{listing.uri}: holds files of several formats ({counted}); {allowed}")
    (kind,) = kinds
    if kind == "parquet" and not listing.is_file:
        parquet = [entry for entry in listing.entries if kind_of(entry.uri) == "parquet"]
        if all(HUB_PARQUET.search(entry.uri) for entry in parquet):
            return "hf"
    return kind


def _metadata_kind(listing: Listing) -> Format | None:
    """The format of `metadata.csv`, `metadata.jsonl` or `metadata.parquet` beside images; None where other tables lie
    there."""
    kinds = {kind_of(entry.uri) for entry in listing.entries if _METADATA.search(entry.uri)}
    tables = [entry for entry in listing.entries if kind_of(entry.uri) not in ("images", None)]
    (kind,) = kinds if len(kinds) == 1 else (None,)
    return kind if all(_METADATA.search(entry.uri) for entry in tables) else None


def is_saved_dataset(listing: Listing) -> bool:
    """Whether `datasets.save_to_disk` wrote this directory."""
    names = {listing.relative(entry) for entry in listing.entries}
    return not listing.is_file and ("dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= names)


def check_format(name: str) -> Format:
    """`name` as a format.

    Raises:
        RequestError: it is none.
    """
    for known in FORMATS:
        if name == known:
            return known
    raise RequestError(f"--input-format {name!r} is unknown; allowed are {told(FORMATS)}")


def expand_braces(pattern: str) -> Iterator[str]:
    """`a{x,y}` → `ax`, `ay`; `{008..010}` → 008, 009, 010 with the width of the first number."""
    match = _BRACES.search(pattern)
    if not match:
        yield pattern
        return
    limits = _RANGE.fullmatch(match[1])
    if limits:
        width = len(limits[1])
        choices = [f"{number:0{width}d}" for number in range(int(limits[1]), int(limits[2]) + 1)]
    else:
        choices = match[1].split(",")
    for choice in choices:
        yield from expand_braces(pattern[: match.start()] + choice + pattern[match.end() :])


def _list_pattern(uri: str) -> Listing:
    entries: dict[str, FileEntry] = {}
    roots: list[str] = []
    for pattern in expand_braces(uri):
        wild = _WILD.search(pattern)
        if not wild:
            found = list_files(absolute(pattern))
            roots.append(posixpath.dirname(absolute(pattern)))
        else:
            fixed = pattern[: pattern.rfind("/", 0, wild.start()) + 1]
            root = absolute(fixed or ".")
            roots.append(root)
            fits = _compile(pattern[len(fixed) :])
            listed = list_files(root)
            found = [entry for entry in listed if fits.fullmatch(entry.uri.removeprefix(root.rstrip("/") + "/"))]
        entries.update((entry.uri, entry) for entry in found)
    if not entries:
        raise refuse(f"{uri}: no file fits the pattern")
    return Listing(uri, _common(roots), tuple(sorted(entries.values(), key=lambda entry: entry.uri)))


def _common(roots: list[str]) -> str:
    schemes = {root.partition("://")[0] if "://" in root else "" for root in roots}
    if len(schemes) > 1:
        raise refuse(f"a pattern spans several file systems: {told(roots)}")
    (scheme,) = schemes
    shared = posixpath.commonpath([root.removeprefix(f"{scheme}://") for root in roots])
    return f"{scheme}://{shared}" if scheme else shared


def _compile(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression; `*` stays within one directory, a fitting directory brings all its files."""
    parts: list[str] = []
    for piece in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern):
        if piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]"):
            parts.append("[" + piece[1:-1].replace("\\", "\\\\").replace("!", "^", 1 if piece[1] == "!" else 0) + "]")
        else:
            parts.append(re.escape(piece))
    return re.compile("".join(parts).rstrip("/") + "(?:/.*)?")
