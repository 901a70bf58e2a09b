"""Conversations as LLaVA's JSON."""

from __future__ import annotations

import json
from typing import Any

from vqa_ray.export.llava import llava_lines

TALK = [{"role": "system", "text": "S"}, {"role": "user", "text": "<image>\nQ"}, {"role": "assistant", "text": "A"}]


def test_conversations_and_answers_are_records_of_one_list() -> None:
    named = {"row_id": 7, "image_uri": "s3://b/in/sub/a.jpg"}
    rows: list[dict[str, Any]] = [
        {**named, "question_index": 2, "conversation": TALK},
        {**named, "image_uri": "s3://b/other.jpg", "question": "Q", "answer": "ä"},
        {"row_id": 8, "image_uri": None, "question": "Q", "answer": "A"},
    ]
    text = "".join(llava_lines(rows, ["/elsewhere", "s3://b/in/"]))
    assert text.count("\n") == 5
    first, second, third = json.loads(text)
    assert first == {
        "id": "7-2",
        "image": "sub/a.jpg",
        "conversations": [
            {"from": "system", "value": "S"},
            {"from": "human", "value": "<image>\nQ"},
            {"from": "gpt", "value": "A"},
        ],
    }
    assert second["image"] == "s3://b/other.jpg"
    assert second["conversations"] == [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "ä"}]
    assert "image" not in third
    assert json.loads("".join(llava_lines([]))) == []
