"""The two kinds of `.json` files: the questions of VQA v2, and rows."""

from __future__ import annotations

import re
from typing import Literal

from vqa_ray.readers.damage import watched_stream
from vqa_ray.text_encoding import encoding_of

_HEAD_BYTES = 2**16
_QUESTIONS = re.compile(r'"questions"\s*:\s*\[')
_NUMBERED = re.compile(r'"image_id"\s*:\s*\d')
_REFERENCED = re.compile(r'"(?:image|image_uri|image_url|image_path|url)"\s*:')


def json_kind(uri: str) -> Literal["vqa-v2", "jsonl"]:
    """`vqa-v2` for an object whose list `questions` names images by number, `jsonl` for everything else."""
    with watched_stream(uri) as (file, _):
        head = file.read(_HEAD_BYTES)
    text = head.decode(encoding_of(head), errors="replace").removeprefix("\ufeff").lstrip()
    questions = _QUESTIONS.search(text) if text.startswith("{") else None
    if questions is None:
        return "jsonl"
    listed = text[questions.end() :]
    return "vqa-v2" if _NUMBERED.search(listed) and not _REFERENCED.search(listed) else "jsonl"
