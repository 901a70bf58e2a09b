"""Records of many small files: the tasks of MME, text beside images; the diagrams of AI2D, a JSON file for each."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence

from vqa_ray.errors import one_line
from vqa_ray.readers.benchmarks.documents import Found
from vqa_ray.readers.benchmarks.fields import FILE, NUMBER
from vqa_ray.readers.coerce import finite_or_text
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.source import Shard
from vqa_ray.storage.filesystem import read_bytes, read_head
from vqa_ray.text_encoding import decode_text, encoding_of, text_lines

_QUESTIONS, _IMAGES = "questions_answers_YN", "images"
_FILES_PER_SHARD = 256
_HEAD_BYTES = 4096
_IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg")


def task_files(listing: Listing) -> list[str]:
    """Return the text files of tasks, relative: `TASK/0001.txt`, `TASK/questions_answers_YN/0001.txt`, `TASK.txt`."""
    names = {listing.relative(entry) for entry in listing.entries}
    return sorted(name for name in names if name.endswith(".txt") and ("/" not in name or _image_of(name, names)))


def is_task(listing: Listing, name: str) -> bool:
    """Check whether the first line of a text file has fields with tabs between, and an answer of yes or no."""
    head = read_head(f"{listing.root}/{name}", _HEAD_BYTES)
    cells = head.decode(encoding_of(head), errors="replace").partition("\n")[0].split("\t")
    return any(cell.strip().lower() in ("yes", "no") for cell in cells[1:])


def _image_of(name: str, names: set[str]) -> str | None:
    directory, base = posixpath.split(name)
    if posixpath.basename(directory) == _QUESTIONS:
        directory = posixpath.join(posixpath.dirname(directory), _IMAGES)
    if not directory:
        return None
    stem = posixpath.join(directory, base.removesuffix(".txt"))
    return next((f"{stem}{suffix}" for suffix in _IMAGE_SUFFIXES if f"{stem}{suffix}" in names), None)


def with_images(listing: Listing, files: Sequence[str]) -> list[tuple[str, str]]:
    """Return each text file of a task with its image, empty where its lines name images."""
    names = {listing.relative(entry) for entry in listing.entries}
    return [(name, _image_of(name, names) or "") for name in files]


def folder_shards(root: str, files: Sequence[tuple[str, ...]], place: Sequence[str]) -> list[Shard]:
    """Return shards of up to 256 files below a directory, whose names are `place` and then those of the files."""
    starts = range(0, len(files), _FILES_PER_SHARD)
    parts = [files[start : start + _FILES_PER_SHARD] for start in starts]
    return [Shard(i, root, names=(*place, *(name for each in part for name in each))) for i, part in enumerate(parts)]


def diagram_records(shard: Shard, names: Sequence[str], encoding: str | None) -> Iterator[Found]:
    """Yield the questions of JSON files that hold an `imageName` and `questions`, by their texts."""
    for name in names:
        data = read_bytes(f"{shard.uri}/{name}")
        try:
            document = json.loads(decode_text(data, encoding), parse_float=finite_or_text)
            asked = dict(document["questions"]).items()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield Found(None, data, f"{name}: no JSON object of questions: {one_line(error, 120)}")
            continue
        stem = posixpath.basename(name).removesuffix(".json")
        for number, (text, each) in enumerate(asked):
            fields = each if isinstance(each, dict) else {}
            place = {FILE: stem, NUMBER: number, "question": text, "image": document.get("imageName")}
            yield Found({**fields, **place}, json.dumps([name, text, each]).encode())


def task_records(shard: Shard, names: Sequence[str], encoding: str | None) -> Iterator[Found]:
    """Yield the lines of task files: `question⇥answer` of the image beside, or `image⇥question⇥answer`."""
    for name, image in zip(names[::2], names[1::2], strict=True):
        task = name.removesuffix(".txt").partition("/")[0]
        seen: Counter[str] = Counter()
        data = read_bytes(f"{shard.uri}/{name}")
        try:
            lines = text_lines(decode_text(data, encoding))
        except ValueError as error:
            yield Found(None, data, f"{name}: {error}")
            continue
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            cells = [*([posixpath.basename(image)] if image else []), *map(str.strip, line.split("\t"))]
            if len(cells) < 3:
                problem = f"{name} line {number}: wanted {'' if image else 'image⇥'}question⇥answer"
                yield Found(None, line.encode(), problem)
                continue
            seen[cells[0]] += 1
            record = dict(zip(("image", "question", "answer"), cells, strict=False))
            where = {FILE: f"{task}/{cells[0]}", NUMBER: seen[cells[0]], "task": task}
            yield Found({**where, "path": image or f"{task}/{cells[0]}", **record}, line.encode())
