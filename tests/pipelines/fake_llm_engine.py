"""A stage that stands where vLLM's would. Apart from the tests, as workers import it: it must be light."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from ray.llm._internal.batch.stages.base import StatefulStage, StatefulStageUDF


class FakeEngine(StatefulStageUDF):
    """Says the image's first pixel and the question, as vLLM's stages would; fails on questions of dogs."""

    async def udf(self, batch: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        for row in batch:
            place = {self.IDX_IN_BATCH_COLUMN: row[self.IDX_IN_BATCH_COLUMN]}
            parts = row["messages"][-1]["content"]
            text = next(part["text"] for part in parts if part["type"] == "text")
            pictures = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
            if "dog" in text:
                yield place | {"__inference_error__": "ValueError: no dogs", "generated_text": "", "logprobs": None}
                continue
            pixel = first_pixel(pictures[0]) if pictures else "nothing"
            told = [{5: {"logprob": math.log(0.5)}, 9: {"logprob": 0.0}}, {6: {"logprob": math.log(0.25)}}]
            yield place | {
                "generated_text": f" {pixel} {text} {row['sampling_params']['max_tokens']}",
                "generated_tokens": [5, 6],
                "logprobs": told,
                "__inference_error__": "",
            }


class FakeStage(StatefulStage):
    fn: type[StatefulStageUDF] = FakeEngine


def first_pixel(url: str) -> str:
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return "-".join(map(str, np.asarray(PillowImage.open(io.BytesIO(data)))[0, 0]))
