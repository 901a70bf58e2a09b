"""Names of known bookkeeping of tools and systems, which every input leaves out silently. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

OURS = "_vqa_ray"
_TABLES = """_success _metadata _common_metadata _delta_log _delta_index _change_data _temporary _spark_metadata
    _symlink_format_manifest _impala_insert_staging .hoodie .hoodie_partition_metadata"""
_SYSTEMS = """.ds_store .appledouble .spotlight-v100 .trashes .fseventsd .temporaryitems .apdisk .localized .directory
    thumbs.db ehthumbs.db desktop.ini __macosx $recycle.bin lost+found @eadir .thumbnails .nomedia .picasa.ini
    picasa.ini"""
_TOOLS = """.git .gitattributes .gitignore .gitkeep .gitmodules .keep .svn .hg .dvc .dvcignore .cache .huggingface
    .ipynb_checkpoints __pycache__"""
_NAMES = frozenset((*_TABLES.split(), *_SYSTEMS.split(), *_TOOLS.split(), "system volume information", OURS))
_PATTERNS = re.compile(
    r"\._.*|_committed_.*|_started_.*|\.trash-.*|\.nfs[0-9a-f]+|\.fuse_hidden.*|\.hive-staging.*|\.spark-staging.*"
    r"|\.~lock\..*|~\$.*|\..*\.crc|.*_\$folder\$|\..*\.[0-9a-f]{32}\.tmp",
    re.DOTALL,
)
# What a run of ours writes beside its private folder: rows, and what describes them.
_RUN_ROWS = re.compile(r"(?:part-|matches)[^/]*\.parquet")
_RUN_NOTES = re.compile(r"_README\.md|\.huggingface\.yaml|_(?:matches|groups)\.pq|_matches\.parquet|gallery\.html")
# What `vqa-ray catalog` writes beside its products; the first of them marks its directories.
_CATALOGUE_MARK = "_catalog.json"
_CATALOGUE_FILE = re.compile(r"_catalog\.json|_answers\.txt|_truth-[0-9]+\.jsonl")


def is_bookkeeping(name: str) -> bool:
    """Check whether a file or directory of this name, without its path, holds nothing of an input."""
    lowered = name.lower()
    return lowered in _NAMES or bool(_PATTERNS.fullmatch(lowered))


def own_outputs(paths: Iterable[str]) -> frozenset[str]:
    """Return the directories among relative paths that are runs or indexes of ours; "" is the root itself."""
    marked = (f"/{path}".partition(f"/{OURS}/") for path in paths)
    return frozenset(before.removeprefix("/") for before, mark, _ in marked if mark)


def without_bookkeeping(paths: Iterable[str], spared: re.Pattern[str] | None = None) -> Iterator[str]:
    """Leave out bookkeeping, also of our runs, their rows below the root, and the truth beside a catalogue's images.

    Args:
        paths: below the root of an input.
        spared: parts of paths that are wanted although they are bookkeeping.
    """
    listed = list(paths)
    outputs = own_outputs(listed)
    catalogues = {path.rpartition("/")[0] for path in listed if path.rpartition("/")[2] == _CATALOGUE_MARK}
    for path in listed:
        directory, _, name = path.rpartition("/")
        if directory in outputs and (_RUN_NOTES.fullmatch(name) or (directory and _RUN_ROWS.fullmatch(name))):
            continue
        hidden = [part for part in path.split("/") if is_bookkeeping(part)]
        if directory in catalogues and _CATALOGUE_FILE.fullmatch(name):
            hidden.append(name)
        if all(spared and spared.fullmatch(part) for part in hidden):
            yield path


def run_files(paths: Iterable[str]) -> Iterator[str]:
    """Return the relative paths that hold rows of a run of ours."""
    return (path for path in paths if _RUN_ROWS.fullmatch(path))
