"""Conversations about pictures of one colour, in LLaVA's layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.coloured import NAMES, picture

ROWS, SHARDS = 96, 2
QUESTION = "what colour is it?"


def colour(number: int) -> str:
    """The colour of picture NUMBER."""
    return NAMES[number % len(NAMES)]


def talk(number: int) -> dict[str, Any]:
    """A row in LLaVA's layout: most show a picture, every eighth is text alone, some have two turns."""
    if number % 8 == 7:
        turns = [("human", "is red a colour?"), ("gpt", "yes")]
    elif number % 8 == 3:
        turns = [("human", "<image>\nis there a dog?"), ("gpt", "no"), ("human", QUESTION), ("gpt", colour(number))]
    else:
        turns = [("human", f"<image>\n{QUESTION}"), ("gpt", colour(number))]
    image = {} if number % 8 == 7 else {"image": f"{number}.jpg"}
    return {"id": str(number), **image, "conversations": [{"from": who, "value": text} for who, text in turns]}


def conversations(directory: Path, *, broken: Sequence[int] = (), rows: int = ROWS) -> Path:
    """LLaVA's JSON Lines beside their pictures, some of which are none."""
    directory.mkdir(parents=True)
    for number in range(rows):
        (directory / f"{number}.jpg").write_bytes(b"no picture" if number in broken else picture(number))
    for shard in range(SHARDS):
        lines = [json.dumps(talk(number)) for number in range(rows) if number % SHARDS == shard]
        (directory / f"{shard}.jsonl").write_text("\n".join(lines) + "\n")
    return directory
