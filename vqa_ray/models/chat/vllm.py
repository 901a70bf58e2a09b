"""Chat models on vLLM: what is asked of its engine for a question, and what its output says. Needs no vLLM itself."""

from __future__ import annotations

import base64
import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.checkpoint.files import read_json
from vqa_ray.models.generation.boxes import THOUSANDTHS, find_boxes
from vqa_ray.models.generation.config import NEW_TOKENS, finish_warning
from vqa_ray.types import Answer, FinishReason, Image, Turn

# A picture travels as PNG: lossless, and at this level three times faster to write than at Pillow's own.
_PNG_LEVEL = 1


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """How vLLM runs a model.

    Attributes:
        max_new_tokens: of an answer, the closing token included.
        gpus: that one engine spans (tensor parallel).
        dtype: of the weights; None for the checkpoint's own.
        images: that a row may show.
        relative_json: whether JSON boxes count to thousandths (Qwen3-VL), not to pixels.
        closing: ids that end an answer.
    """

    max_new_tokens: int = NEW_TOKENS
    gpus: int = 1
    dtype: str | None = None
    images: int = 1
    relative_json: bool = False
    closing: tuple[int, ...] = ()

    def engine_kwargs(self) -> dict[str, Any]:
        """Arguments of vLLM's engine. Prefix caching shares an image between questions that arrive together."""
        return {
            "dtype": self.dtype or "auto",
            "tensor_parallel_size": self.gpus,
            "enable_prefix_caching": True,
            "limit_mm_per_prompt": {"image": self.images},
            "load_format": "safetensors",
            "trust_remote_code": False,
        }


def require_vllm() -> None:
    """Refuse where vLLM is not installed.

    Raises:
        RequestError: says how to get it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise RequestError(
            "--engine vllm: vLLM is not installed here; install vqa-ray[vllm] on every node that has GPUs, or use "
            "--engine transformers"
        )


def model_source(reference: str) -> tuple[str, dict[str, str]]:
    """Return vLLM's name of a model and further engine arguments: a directory as it is, a hub name without revision."""
    if Path(reference).is_dir() or "@" not in reference:
        return reference, {}
    name, _, revision = reference.partition("@")
    return name, {"revision": revision}


def closing_tokens(path: Path | None) -> tuple[int, ...]:
    """Return the ids that end an answer, as a checkpoint directory names them; empty where it does not."""
    if path is None:
        return ()
    for name in ("generation_config.json", "config.json"):
        ends = read_json(path, name).get("eos_token_id") if (path / name).is_file() else None
        if ends is not None:
            return tuple(ends) if isinstance(ends, list) else (int(ends),)
    return ()


def picture_url(image: Image) -> str:
    """Return an image, uint8 (H, W, 3), as a `data:` URL."""
    from PIL import Image as PillowImage

    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def messages(question: str, turns: Sequence[Turn], pictures: Sequence[str]) -> list[dict[str, Any]]:
    """Return a conversation in OpenAI's form, the images in front of the first question.

    Args:
        question: the one to answer.
        turns: what was said before, oldest first.
        pictures: see `picture_url`; none for a row that shows none.
    """
    said: list[dict[str, Any]] = []
    for asked, answered in turns:
        said += [_message("user", asked), _message("assistant", answered)]
    said.append(_message("user", question))
    said[0]["content"][:0] = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    return said


def sampling(max_new_tokens: int) -> dict[str, Any]:
    """vLLM's sampling parameters of a greedy answer whose tokens' log-probabilities are told."""
    return {"temperature": 0.0, "max_tokens": max_new_tokens, "logprobs": 1, "detokenize": False}


def answer_of(output: Mapping[str, Any], options: VllmOptions, height: int, width: int) -> Answer:
    """Return the answer in one row of vLLM's output.

    Args:
        output: `generated_text`, `generated_tokens` and `logprobs` as Ray Data gives them.
        options: what the engine was asked with.
        height: pixels of the image as the model saw it.
        width: pixels of the image as the model saw it.

    Raises:
        RowError: `model_error` when the engine failed on the row or told no log-probabilities.
    """
    failure = output.get("__inference_error__")
    if failure:
        raise RowError(ErrorCode.MODEL_ERROR, f"vLLM: {failure}")
    text = str(output.get("generated_text") or "")
    given = [_log_probability(token, told) for token, told in _told(output)]
    if not given:
        raise RowError(ErrorCode.MODEL_ERROR, "vLLM told no log-probabilities")
    finish = _finish_reason(list(map(int, output["generated_tokens"])), options)
    return Answer(
        ((text.strip(), math.exp(sum(given) / len(given))),),
        finish_warning(finish, options.max_new_tokens, None),
        find_boxes(text, *json_extent(options, height, width)),
        finish,
    )


def _finish_reason(tokens: Sequence[int], options: VllmOptions) -> FinishReason:
    """Ray Data leaves vLLM's own finish reason out, so it follows from the tokens."""
    full = len(tokens) >= options.max_new_tokens
    return "length" if full and tokens[-1] not in options.closing else "stop"


def json_extent(options: VllmOptions, height: int, width: int) -> tuple[float, float]:
    """Return what JSON boxes count to, see `find_boxes`, for an image of this size as the model saw it."""
    return (THOUSANDTHS, THOUSANDTHS) if options.relative_json else (height, width)


def _told(output: Mapping[str, Any]) -> list[tuple[int, Any]]:
    tokens, told = output.get("generated_tokens"), output.get("logprobs")
    if tokens is None or told is None:
        return []
    return list(zip(map(int, tokens), told, strict=False))


def _log_probability(token: int, told: Any) -> float:
    # Columns with numbers for keys may have come through Arrow, as text.
    by_token = dict(told)
    entry = by_token.get(token, by_token.get(str(token)))
    if entry is None:
        raise RowError(ErrorCode.MODEL_ERROR, f"vLLM told no log-probability of token {token}")
    return float(entry["logprob"])


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}
