"""The official VQA files: a questions JSON, an annotations JSON beside it, and a folder of COCO images."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice

import pyarrow as pa

from vqa_ray.errors import one_line
from vqa_ray.readers.columns import check_keep, check_names, present_labels
from vqa_ray.readers.formats.json_text import json_members
from vqa_ray.readers.image_refs import resolve_uri
from vqa_ray.readers.listing import Listing, absolute
from vqa_ray.readers.passthrough import keep_json
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import ColumnMap, InputConfig, OpenedInput, Shard, Source, join_names, request_error
from vqa_ray.storage.filesystem import exists, fsspec_for, read_bytes
from vqa_ray.text_encoding import decode_text

SHARD_ROWS = 10_000
_ROLES = ("image_folder", "annotations")
_KEEP: Mapping[str, pa.DataType] = {
    "annotator_answers": pa.list_(pa.string()),
    "answer_type": pa.string(),
    "question_type": pa.string(),
    "multiple_choice_answer": pa.string(),
}
_LAYOUT = ColumnMap(question=("question",), image_id=("image_id",), question_id=("question_id",))
# What stands in patterns of names, and must not lead anywhere.
_NAME = re.compile(r"[\w-]*")
# A questions file is named like its annotations: v2_OpenEnded_mscoco_val2014_questions.json goes with
# v2_mscoco_val2014_annotations.json.
_QUESTIONS_NAME = re.compile(r"OpenEnded_(.*)questions\.json$")


def open_vqa_v2(config: InputConfig, listing: Listing) -> OpenedInput:
    """Find the images and annotations of a questions file, and split it into shards of 10,000 questions.

    `config.columns` may give `image_folder` and `annotations` (relative to the questions file); `config.keep` may
    name `annotator_answers`, `answer_type`, `question_type` and `multiple_choice_answer`.

    Raises:
        RequestError: no such JSON, no questions in it, or the images or annotations cannot be found.
    """
    check_names(config, _ROLES, listing.uri)
    check_keep(config, tuple(_KEEP), listing.uri)
    files = listing.of("vqa-v2")
    if len(files) > 1:
        names = [listing.relative(entry) for entry in files]
        raise request_error(f"{listing.uri}: holds {len(names)} questions files; give one of them: {join_names(names)}")
    uri, head, count, first = files[0].uri, {}, 0, None
    try:
        for key, value, _ in json_members(decode_text(read_bytes(uri), config.encoding), "questions"):
            if key != "questions":
                head[key] = value
                continue
            count += 1
            if first is None and isinstance(value, dict) and isinstance(value.get("image_id"), int):
                first = value["image_id"]
    except (ValueError, RecursionError) as error:
        raise request_error(f"{uri}: not a VQA questions file: {error}") from error
    if first is None:
        raise request_error(f"{uri}: not a VQA questions file: no list 'questions' of objects with an image_id")
    folder, pattern = _find_images(config, listing.root, head, first) if config.needs_image else ("", "")
    riding = (*config.keep, *present_labels(config, tuple(_KEEP)))
    annotations = _find_annotations(config, uri, riding[0]) if riding else ""
    shards = [
        Shard(
            i,
            uri,
            start,
            min(start + SHARD_ROWS, count),
            (folder, pattern, annotations),
            min(SHARD_ROWS, count - start),
        )
        for i, start in enumerate(range(0, count, SHARD_ROWS))
    ]
    kept = tuple(pa.field(name, _KEEP[name]) for name in riding)
    described = ""
    if annotations:
        filesystem, path = fsspec_for(annotations)
        described = f"{posixpath.basename(annotations)} {filesystem.size(path)} {filesystem.modified(path)}"
    return OpenedInput(tuple(shards), _LAYOUT, kept, revision=described, columns=tuple(_KEEP))


def read_vqa_v2(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Return the rows of up to 10,000 questions, with the annotators' answers where they are kept."""
    builder, fields = RowBuilder(source, shard.uri), source.passthrough_columns()
    folder, pattern, annotations = shard.names
    text = decode_text(read_bytes(shard.uri), source.config.encoding)
    found = (value for key, value, _ in json_members(text, "questions") if key == "questions")
    questions = list(islice(found, shard.start, shard.stop))
    ids = {question.get("question_id") for question in questions if isinstance(question, dict)}
    said = _annotations(annotations, ids, source.config.encoding) if source.passthrough else {}

    def make(question: object) -> Row:
        line = json.dumps(question, sort_keys=True).encode()
        image_id = question.get("image_id") if isinstance(question, dict) else None
        if not isinstance(question, dict) or type(image_id) is not int:
            return builder.malformed(f"{posixpath.basename(shard.uri)}: a question without an image_id", line)
        name = pattern.format(image_id)
        kept = keep_json(said.get(question.get("question_id"), {}), fields)
        return builder.row(question, kept, uri=(f"{folder}/{name}", name) if folder else None, line=line)

    return numbered(questions, make, wanted)


def _annotations(uri: str, ids: Collection[object], encoding: str | None) -> dict[object, dict[str, object]]:
    said: dict[object, dict[str, object]] = {}
    for key, value, _ in json_members(decode_text(read_bytes(uri), encoding), "annotations"):
        if key == "annotations" and isinstance(value, dict) and value.get("question_id") in ids:
            answers = [answer.get("answer") for answer in value.get("answers") or [] if isinstance(answer, dict)]
            said[value["question_id"]] = {
                **{name: value.get(name) for name in _KEEP},
                "annotator_answers": answers if "answers" in value else None,
            }
    return said


def _find_images(config: InputConfig, root: str, head: Mapping[str, object], first: int) -> tuple[str, str]:
    """Return the folder, and the pattern of names in it, under which the first question's image is there."""
    subtype = re.sub(r"^test-\w+?(?=\d)", "test", str(head.get("data_subtype", "")))
    data = str(head.get("data_type", "mscoco"))
    for name, value in (("data_subtype", subtype), ("data_type", data)):
        if not _NAME.fullmatch(value):
            raise request_error(f"{config.uri}: {name} is {one_line(value, 80)!r}; wanted is a name such as val2014")
    patterns = [f"COCO_{subtype}_{{:012d}}.jpg", f"{data}_{subtype}_{{:012d}}.png", "{:012d}.jpg", "{}.jpg", "{}.png"]
    if "image_folder" in config.columns or config.image_root is not None:
        folders = [config.columns.get("image_folder") or str(config.image_root)]
    else:
        near = (subtype, f"images/{subtype}", f"Images/{data}/{subtype}", "images", "Images", ".")
        folders = [f"{up}{folder}" for up in ("", "../", "../../") for folder in near]
    for folder in folders:
        images = absolute(resolve_uri(folder, root))
        for pattern in patterns:
            if exists(f"{images}/{pattern.format(first)}"):
                return images, pattern
    tried = ", ".join(folders[:6])
    raise request_error(
        f"{config.uri}: the image of the first question, {patterns[0].format(first)}, is not found (tried {tried}); "
        "give the folder with --column image_folder=DIR"
    )


def _find_annotations(config: InputConfig, uri: str, wanted: str) -> str:
    directory, name = posixpath.split(uri)
    given = config.columns.get("annotations")
    if given:
        candidates = [resolve_uri(given, directory)]
    else:
        own = _QUESTIONS_NAME.sub(r"\1annotations.json", name)
        candidates = [resolve_uri(f"{up}{own}", directory) for up in ("", "../annotations/", "../Annotations/")]
    for candidate in candidates:
        if candidate != uri and exists(candidate):
            return candidate
    raise request_error(
        f"{uri}: {'--keep ' if config.keep else ''}{wanted} needs the annotations file, which is not at {candidates[0]}"
    )
