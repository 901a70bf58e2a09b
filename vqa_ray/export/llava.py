"""LLaVA's JSON of conversations, which trainers of chat models read, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vqa_ray.conversation.conversation import IMAGE_MARKER

_ROLES = {"system": "system", "user": "human", "assistant": "gpt"}
COLUMNS = ("row_id", "image_uri", "question_index", "conversation", "question", "answer", "status")
"""The columns that records are made of; a run has `conversation`, or `question` and `answer`."""


def llava_lines(rows: Iterable[Mapping[str, Any]], roots: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of one JSON list: a record for each row that is not in error.

    A record holds `id`, `image` (none where the input holds the images themselves) and `conversations`. A question and
    its answer are a conversation of two turns.

    Args:
        rows: with `COLUMNS`.
        roots: directories or prefixes; images below one of them are named relative to it.
    """
    prefixes = [f"{root.rstrip('/')}/" for root in roots]
    start = "["
    for row in rows:
        yield f"{start}\n{json.dumps(_record(row, prefixes), ensure_ascii=False)}"
        start = ","
    yield "\n]\n" if start == "," else "[]\n"


def _record(row: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    uri = row["image_uri"]
    prefix = next((each for each in prefixes if uri is not None and uri.startswith(each)), "")
    image = {} if uri is None else {"image": uri.removeprefix(prefix)}
    return {"id": f"{row['row_id']}-{row.get('question_index') or 0}", **image, "conversations": _turns(row)}


def _turns(row: Mapping[str, Any]) -> list[dict[str, str]]:
    said = row.get("conversation")
    if said is None:
        question = f"{IMAGE_MARKER}\n{row['question']}"
        said = [{"role": "user", "text": question}, {"role": "assistant", "text": row["answer"]}]
    return [{"from": _ROLES[cell["role"]], "value": cell["text"]} for cell in said]
