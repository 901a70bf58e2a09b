"""Formats by the names of files. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from vqa_ray.format_names import Format
from vqa_ray.storage.filesystem import FileEntry

IMAGE_SUFFIXES = frozenset(
    {"apng", "avif", "avifs", "bmp", "dib", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpc", "jpe", "jpeg"}
    | {"jpf", "jpg", "jpx", "mpo", "pbm", "pcx", "pgm", "png", "pnm", "ppm", "psd", "tga", "tif", "tiff", "webp"}
)
_SUFFIXES: Mapping[Format, Collection[str]] = {
    "parquet": ("parquet", "pq", "parq"),
    "webdataset": ("tar", "tgz", "tbz2", "txz", "tzst"),
    "jsonl": ("jsonl", "ndjson", "jsonlines"),
    "csv": ("csv", "tsv", "tab"),
    "images": IMAGE_SUFFIXES,
    "pdf": ("pdf",),
}
_COMPRESSED = ("gz", "bz2", "xz", "zst", "zstd")
_KINDS = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
_VQA_V2 = re.compile(r"questions\.json$")
OFFICIAL_QUESTIONS = re.compile(r"OpenEnded[^/]*questions\.json$")
HUB_PARQUET = re.compile(r"(?:^|/)(?P<split>[\w.]+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet$")
# What is certainly no part of an input that lies beside it, although its contents might look like one.
_OTHERS = """txt md rst log html htm xml json yaml yml toml ini cfg conf py ipynb sh js css c h java doc docx xls
    xlsx ppt pptx zip 7z rar svg eps ai mp4 mov avi mkv webm mp3 wav aae xmp thm lock tmp part crdownload bak npy npz pt
    pth safetensors bin h5 pkl arrow feather avro orc db sqlite md5 sha1 sha256 sum crc idx index bib lnk url exe dll
    so"""
OTHERS = frozenset(_OTHERS.split())


def kind_of(name: str) -> Format | None:
    """Return the format that a file's name speaks of, or None."""
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() in _COMPRESSED:
        stem, _, suffix = stem.rpartition(".")
        known = _KINDS.get(suffix.lower()) if stem else None
        return known if known in ("webdataset", "jsonl", "csv") else None
    known = _KINDS.get(suffix.lower()) if stem else None
    return "vqa-v2" if known is None and _VQA_V2.search(name) else known


def without_documents(kinds: set[Format]) -> set[Format]:
    """PDF files beside others are no input: manuals in a folder of images, or documents that a table names."""
    return kinds - {"pdf"} or kinds


def suffix_of(uri: str) -> str:
    """Return the suffix of a file's name, for a message: `.jpg`, `.jsonl.gz` or `no suffix`."""
    name = uri.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    if not stem or not dot or not suffix or " " in suffix or len(suffix) > 16:
        return "no suffix"
    inner = stem.rpartition(".")[2] if suffix in _COMPRESSED and "." in stem else ""
    return f".{inner}.{suffix}" if 0 < len(inner) <= 8 else f".{suffix}"


def kinds_found(entries: Iterable[FileEntry], *, examples: bool = False) -> str:
    """Files counted by suffix, for a message.

    Args:
        entries: the files.
        examples: whether to name one of each suffix.
    """
    kinds: Counter[str] = Counter()
    names: dict[str, str] = {}
    for entry in entries:
        kind = suffix_of(entry.uri) + ("" if entry.size_bytes else ", empty")
        kinds[kind] += 1
        names.setdefault(kind, entry.uri.rpartition("/")[2])
    return counted_kinds(kinds, names if examples else None)


def counted_kinds(counts: Counter[str], examples: Mapping[str, str] | None = None) -> str:
    """Files counted by suffix, for a message: the 8 most frequent suffixes.

    Args:
        counts: suffix → files.
        examples: suffix → the name of one of them, to be shown.
    """
    each = (
        f"{count} × {suffix}" + (f" (for example {examples[suffix]})" if examples else "")
        for suffix, count in counts.most_common(8)
    )
    more = f" and {len(counts) - 8} other kinds" if len(counts) > 8 else ""
    return (", ".join(each) or "no files") + more
