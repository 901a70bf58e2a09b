"""The directory of a demo: the files it writes, which the next demo may delete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from vqa_ray.errors import RequestError, one_line
from vqa_ray.runs.directory import CARD, FOR_DATASETS, PRIVATE
from vqa_ray.storage.foreign_files import refuse_foreign_files

MARKER = ".vqa-ray-demo.json"
PRODUCTS, TAGS, ANSWERS, GALLERY = "products", "tags", "answers", "gallery.html"
INDEX, HITS, HITS_PAGE = "index", "hits.parquet", "hits.html"
TRUTH, EVALUATION, REPORT = "truth.parquet", "evaluation", "report.html"

# All files of a demo; the next demo in the same directory deletes these and no others.
_OWN_FILES = (
    f"{PRODUCTS}/products-*.parquet",
    f"{TAGS}/part-*.parquet",
    f"{ANSWERS}/part-*.parquet",
    *(f"{folder}/{name}" for folder in (TAGS, ANSWERS, INDEX) for name in (CARD, FOR_DATASETS)),
    GALLERY,
    HITS,
    HITS_PAGE,
    TRUTH,
    REPORT,
    *(f"{EVALUATION}/{name}" for name in ("evaluation.json", "measures.parquet")),
)
_OWN_DIRECTORIES = (
    *(f"{folder}/_vqa_ray" for folder in (TAGS, ANSWERS, INDEX, EVALUATION)),
    f"{INDEX}/updates",
    f"{EVALUATION}/rows",
)


def claim(output: str) -> Path:
    """Check the directory of the demo, and make it if it is missing; files of an earlier demo stay until `clear`.

    Raises:
        RequestError: it is not local, cannot be written, or holds files that no demo made.
    """
    if "://" in output:
        raise RequestError(f"--output {output}: the demo writes to a local directory; answer and tag write anywhere")
    root = Path(output).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not (root / MARKER).is_file():
            strangers = sorted(each.name for each in root.iterdir() if each.name != PRIVATE)
            refuse_foreign_files(f"--output {output}", strangers, "a demo", hint=", or one of an earlier demo")
            (root / MARKER).write_text(json.dumps({"made_by": "vqa-ray demo"}) + "\n")
    except OSError as error:
        raise RequestError(f"--output {output}: cannot be written: {one_line(error)}") from error
    return root


def clear(root: Path) -> None:
    """Delete the files of an earlier demo and no others. Call it with the lock of the directory.

    Raises:
        RequestError: other files lie among them, or a file cannot be deleted.
    """
    try:
        _remove_own(root)
    except OSError as error:
        raise RequestError(f"--output {root}: cannot be written: {one_line(error)}") from error


def _remove_own(root: Path) -> None:
    own = {path for pattern in (*_OWN_FILES, *_OWN_DIRECTORIES) for path in root.glob(pattern)}
    for folder in (root / name for name in (PRODUCTS, TAGS, ANSWERS, INDEX, EVALUATION)):
        if folder.is_symlink():
            raise RequestError(f"--output {root}: {folder.name} is a link, which no demo made; remove it")
        strangers = sorted(each.name for each in folder.iterdir() if each not in own) if folder.exists() else []
        if strangers:
            named = ", ".join(strangers[:3])
            raise RequestError(f"--output {root}: {folder.name}/ holds files that no demo made ({named}); move them")
    for path in own:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
