"""The bodies of requests to `/chat/completions`."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from PIL import Image as PillowImage

from vqa_ray.types import Image, Turn

JPEG_QUALITY = 92
# The most that providers give for a token.
TOP_LOGPROBS = 20

Body = dict[str, Any]


def data_uri(image: Image, encoding: Literal["jpeg", "png"]) -> str:
    """Encode an image as a `data:` URI."""
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, encoding, **({"quality": JPEG_QUALITY} if encoding == "jpeg" else {}))
    return f"data:image/{encoding};base64,{base64.b64encode(file.getvalue()).decode()}"


def chat(model: str, images: Sequence[str], question: str, turns: Sequence[Turn], max_tokens: int) -> Body:
    """Return the body that asks a question about images, which stand in front of all that is said."""
    messages: list[dict[str, Any]] = []
    for asked, answered in turns:
        messages += [_user(asked), {"role": "assistant", "content": answered}]
    messages.append(_user(question))
    messages[0]["content"][:0] = [{"type": "image_url", "image_url": {"url": image}} for image in images]
    return {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "logprobs": True}


def one_of(choices: Sequence[str]) -> Mapping[str, Any]:
    """Return the `response_format` of an object that names one choice."""
    schema = {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(choices)}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    return held_to("choice", schema)


def held_to(name: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `response_format` of an object that a JSON Schema describes."""
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": dict(schema)}}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}
