"""The files behind an input URI, and the format that they are of."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vqa_ray.errors import RequestError
from vqa_ray.format_names import Format
from vqa_ray.readers.bookkeeping import own_outputs, run_files, without_bookkeeping
from vqa_ray.readers.formats.json_kind import json_kind
from vqa_ray.readers.lake_tables import LakeTable, parse_table, table_files
from vqa_ray.readers.output_as_input import describe_output
from vqa_ray.readers.patterns import Glob, expand_braces, is_pattern, is_wild
from vqa_ray.readers.references import refer_to_images
from vqa_ray.readers.sniff import sniff, sniff_files, sniff_table
from vqa_ray.readers.source import BENCHMARKS, FORMATS, join_names, request_error
from vqa_ray.readers.suffixes import HUB_PARQUET, OFFICIAL_QUESTIONS, OTHERS, kind_of, kinds_found, without_documents
from vqa_ray.readers.table_formats import without_removed
from vqa_ray.storage.filesystem import FileEntry, exists, fsspec_for, list_files
from vqa_ray.storage.local_files import name_as_text, path_as_text
from vqa_ray.storage.uri import scheme_of

_JSON = re.compile(r"\.json(?:\.(?:gz|bz2|xz|zst))?$", re.IGNORECASE)
# The table beside the images of a folder, as Hugging Face's ImageFolder names it.
_METADATA = re.compile(r"(?:^|/)metadata\.(?:csv|jsonl|parquet)$")
# Formats whose files are known by their first bytes; text is not.
_BINARY = ("parquet", "webdataset", "images", "pdf")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of an input, without known bookkeeping.

    Attributes:
        uri: as the request names it.
        root: the absolute directory or prefix that all of them lie under.
        entries: sorted by path.
        is_file: the URI names one file, which is then taken whatever its name.
        fragment: what stood after `#`: the split of a Hugging Face dataset.
        named: URIs of files that a pattern names one by one; a format that is given is then that of all of them.
        kinds: URI → format of files whose names do not say it.
        output: which run has written the directory; empty for none.
        lance_version: of a Lance dataset, whose fragments are the entries; None for anything else.
    """

    uri: str
    root: str
    entries: tuple[FileEntry, ...]
    is_file: bool = False
    fragment: str = ""
    named: frozenset[str] = frozenset()
    kinds: Mapping[str, Format] = field(default_factory=dict)
    output: str = ""
    lance_version: int | None = None

    def relative(self, entry: FileEntry) -> str:
        """Return the path below `root`."""
        return entry.uri.removeprefix(self.root.rstrip("/") + "/")

    def kind(self, entry: FileEntry) -> Format | None:
        """Return the format of a file: by its contents where they were looked at, else by its name."""
        if self.lance_version is not None:
            return "lance"
        return self.kinds.get(entry.uri) or kind_of(entry.uri)

    def of(self, kind: Format) -> tuple[FileEntry, ...]:
        """Return the files of one format.

        Raises:
            RequestError: there are none.
        """
        if self.is_file:
            return self.entries
        fitting = tuple(entry for entry in self.entries if self.kind(entry) == kind)
        if not fitting and kind == "jsonl":
            fitting = tuple(entry for entry in self.entries if _JSON.search(entry.uri))
        if not fitting:
            raise request_error(f"{self.uri}: holds no {kind} files; found {self.found()}")
        return fitting

    def found(self) -> str:
        """Return the files by suffix, for a message."""
        return kinds_found(self.entries)


def list_input(uri: str) -> Listing:
    """List an input.

    Raises:
        RequestError: nothing is there, or nothing matches the pattern.
    """
    uri = path_as_text(uri)
    table = parse_table(uri)
    if table is not None and not exists(uri):
        return _list_table(table)
    base, mark, fragment = uri.rpartition("#")
    if mark and fragment and not exists(uri) and exists(base):
        return replace(list_input(base), uri=uri, fragment=fragment)
    if is_pattern(uri) and not exists(uri):
        return _list_pattern(uri)
    root = absolute(uri)
    listed = list_files(root, hidden=True)
    if len(listed) == 1 and listed[0].uri == root:
        return Listing(uri, posixpath.dirname(root), tuple(listed), is_file=True)
    entries = _wanted(root, listed)
    start = len(root.rstrip("/")) + 1
    others = {kind_of(entry.uri) for entry in entries} - {"parquet", "pdf", None}
    output = "" if others else describe_output(uri, root, {entry.uri[start:] for entry in listed})
    if not entries:
        raise request_error(f"{uri}: the input is empty: no files are there")
    return Listing(uri, root, tuple(entries), output=output)


def absolute(uri: str) -> str:
    """`uri` as listings spell it: absolute, without `..`, no trailing slash, no `file://`."""
    filesystem, path = fsspec_for(uri)
    if scheme_of(uri) == "file":
        return name_as_text(posixpath.normpath(path))
    return str(filesystem.unstrip_protocol(path)).rstrip("/")


def with_kinds(listing: Listing, given: Format | None) -> Listing:
    """Tell the format of files by their contents where their names do not.

    Args:
        listing: of an input.
        given: the format that the request names, or None to find out.

    Raises:
        RequestError: a format of files is given for a Lance dataset, or the other way round.
    """
    if given is not None and (given == "lance") != (listing.lance_version is not None):
        how = "name a Lance dataset as --input lance:URI" if given == "lance" else "a Lance dataset is read as lance"
        raise request_error(f"{listing.uri}: --input-format {given}: {how}")
    if is_saved_dataset(listing) or listing.lance_version is not None:
        return listing
    by_name = without_documents({kind for entry in listing.entries if (kind := kind_of(entry.uri))})
    unknown = [entry for entry in listing.entries if kind_of(entry.uri) is None]
    likely = [entry for entry in unknown if entry.uri.rpartition(".")[2].lower() not in OTHERS]
    if given is None and not by_name:
        return replace(listing, kinds=sniff_files(unknown))
    if given is None and len(by_name) > 1:
        return listing
    wanted = given or next(iter(by_name))
    if wanted not in (*_BINARY, "jsonl", "csv"):
        return listing
    if given and listing.named:
        return replace(listing, kinds=dict.fromkeys(listing.named, given))
    found = {uri: kind for uri, kind in sniff_files(likely).items() if kind == wanted}
    if given and given not in by_name and not found and not listing.is_file:
        test = sniff_table if given == "csv" else sniff
        found = {uri: kind for uri, kind in sniff_files(listing.entries, test).items() if kind == given}
    return replace(listing, kinds=found)


def guess_format(listing: Listing) -> Format:
    """Return the format of an input.

    Raises:
        RequestError: the files are of several formats, or of none that is known.
    """
    allowed = f"choose with --input-format: {', '.join(name for name in FORMATS if name != 'lance')}"
    if is_saved_dataset(listing):
        return "hf"
    kinds = Counter(kind for entry in listing.entries if (kind := listing.kind(entry)))
    kinds = Counter({kind: kinds[kind] for kind in without_documents(set(kinds))})
    documents = [entry for entry in listing.entries if _JSON.search(entry.uri)]
    if documents and len(documents) == len(listing.entries) and (len(documents) == 1 or not kinds):
        return "vqa-v2" if OFFICIAL_QUESTIONS.search(documents[0].uri) else json_kind(documents[0].uri)
    if set(kinds) == {"images", "vqa-v2"}:
        tables = [entry for entry in listing.entries if listing.kind(entry) == "vqa-v2"]
        return "vqa-v2" if any(json_kind(entry.uri) == "vqa-v2" for entry in tables) else "images"
    if not kinds:
        raise request_error(f"{listing.uri}: cannot tell the format; found {listing.found()}; {allowed}")
    if len(kinds) == 2 and (table := _metadata_kind(listing) or _referring_kind(listing)):
        return table
    if len(kinds) > 1:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise request_error(f"{listing.uri}: holds files of several formats ({counted}); {allowed}")
    (kind,) = kinds
    if kind == "parquet" and not listing.is_file:
        parquet = [entry for entry in listing.entries if listing.kind(entry) == "parquet"]
        if all(HUB_PARQUET.search(entry.uri) for entry in parquet):
            return "hf"
    return kind


def _metadata_kind(listing: Listing) -> Format | None:
    """Return the format of a `metadata` table beside images; None where other tables lie there."""
    kinds = {listing.kind(entry) for entry in listing.entries if _METADATA.search(entry.uri)}
    tables = [entry for entry in listing.entries if listing.kind(entry) not in ("images", "pdf", None)]
    (kind,) = kinds if len(kinds) == 1 else (None,)
    return kind if all(_METADATA.search(entry.uri) for entry in tables) else None


def _referring_kind(listing: Listing) -> Format | None:
    """Return the format of tables that name image files in folders below them; None where there are other files."""
    kinds = {kind for entry in listing.entries if (kind := listing.kind(entry))} - {"pdf"}
    (table,) = kinds - {"images"} if "images" in kinds else {None}
    if table not in ("csv", "jsonl"):
        return None
    tables = [entry for entry in listing.entries if listing.kind(entry) == table]
    images = [entry for entry in listing.entries if listing.kind(entry) == "images"]
    return table if refer_to_images(tables, images) else None


def is_saved_dataset(listing: Listing) -> bool:
    """Check whether `datasets.save_to_disk` wrote this directory."""
    names = {listing.relative(entry) for entry in listing.entries}
    return not listing.is_file and ("dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= names)


def check_format(name: str) -> Format:
    """`name` as a format.

    Raises:
        RequestError: it is none.
    """
    for known in (*FORMATS, *BENCHMARKS):
        if name == known:
            return known
    raise RequestError(f"--input-format {name!r} is unknown; allowed are {join_names((*FORMATS, *BENCHMARKS))}")


def _list_table(table: LakeTable) -> Listing:
    """List the data files of a table, under the root that `absolute` gives."""
    found = table_files(table)
    root = absolute(found.root)
    within = [replace(entry, uri=f"{root}{entry.uri.removeprefix(found.root)}") for entry in found.entries]
    entries = tuple(sorted(within, key=lambda entry: entry.uri))
    return Listing(table.uri, root, entries, lance_version=found.lance_version)


def _list_pattern(uri: str) -> Listing:
    entries: dict[str, FileEntry] = {}
    named: set[str] = set()
    roots: list[str] = []
    for pattern in expand_braces(uri):
        if not is_wild(pattern):
            root = absolute(pattern)
            matched = list_files(root, hidden=True)
            if len(matched) == 1 and matched[0].uri == root:
                named.add(root)
            else:
                matched = _wanted(root, matched)
            roots.append(posixpath.dirname(root))
        else:
            fixed = _fixed(pattern)
            glob, root = Glob(pattern[len(fixed) :]), absolute(fixed or ".")
            roots.append(root)
            start = len(root.rstrip("/")) + 1
            matched = _wanted(root, list_files(root, hidden=True), glob)
            named.update(entry.uri for entry in matched if glob.names(entry.uri[start:]))
        entries.update((entry.uri, entry) for entry in matched)
    if not entries:
        raise request_error(f"{uri}: no file matches the pattern")
    listed = tuple(sorted(entries.values(), key=lambda entry: entry.uri))
    return Listing(uri, _common(roots), listed, named=frozenset(named))


def _fixed(pattern: str) -> str:
    """Return the leading directories of a pattern that are taken literally: those that exist, whatever their names."""
    fixed = ""
    for part in pattern.split("/")[:-1]:
        if is_wild(part) and not exists(fixed + part):
            break
        fixed += f"{part}/"
    return fixed


def _wanted(root: str, listed: Sequence[FileEntry], glob: Glob | None = None) -> list[FileEntry]:
    """Return the files of a directory without bookkeeping, and without what runs of ours wrote into it."""
    start = len(root.rstrip("/")) + 1
    paths = [entry.uri[start:] for entry in listed]
    wanted = set(without_bookkeeping(paths, glob.spared if glob else None))
    wanted -= without_removed(root, dict(zip(paths, listed, strict=True)))
    if glob:
        wanted = {path for path in wanted if glob.matches(path)}
    if "" in own_outputs(paths) and not glob and any(kind_of(path) not in ("parquet", None) for path in wanted):
        wanted -= set(run_files(wanted))
    return [entry for entry, path in zip(listed, paths, strict=True) if path in wanted]


def _common(roots: list[str]) -> str:
    schemes = {root.partition("://")[0] if "://" in root else "" for root in roots}
    if len(schemes) > 1:
        raise request_error(f"a pattern spans several file systems: {join_names(roots)}")
    (scheme,) = schemes
    shared = posixpath.commonpath([root.removeprefix(f"{scheme}://") for root in roots])
    return f"{scheme}://{shared}" if scheme else shared
