"""Before and after vLLM: rows in = rows out, whatever the engine does between."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image as PillowImage

from vqa_ray import schema
from vqa_ray.models.chat.vllm import VllmOptions
from vqa_ray.stages.vllm import VllmAnswers, VllmRequests

KEPT = [pa.field("sku", pa.string())]
TOLD = [{5: {"logprob": math.log(0.5)}, 9: {"logprob": 0.0}}, {6: {"logprob": math.log(0.25)}}]


def decoded() -> pa.Table:
    """Four rows: two of one image, one in error, one with earlier turns."""
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    rows: list[dict[str, Any]] = []
    for row in range(4):
        rows.append(
            {
                "source_key": row,
                "row_id": 100 + row,
                "image_id": f"image {row}",
                "questions": [f"question {row}?"],
                "turns": [{"question": "what is it?", "answer": "a dog"}] if row == 3 else None,
                "image_key": row // 2,
                "pixels": pixels.tobytes(),
                "height": 4,
                "width": 6,
                "source_height": 40,
                "source_width": 60,
                "status": "ok",
                "sku": f"sku {row}",
            }
        )
    rows[1] |= {"status": "error", "error_code": "image_undecodable", "error_message": "JPEG: no", "pixels": None}
    return pa.Table.from_pylist(rows, schema=schema.with_kept(schema.DECODED, KEPT))


def engine(requests: Any, failing: int) -> dict[str, Any]:
    """What vLLM's stages give back for each request; one row fails."""
    count = len(requests["carried"])
    outputs: dict[str, Any] = {"carried": requests["carried"]}
    for name in ("generated_text", "generated_tokens", "logprobs", "__inference_error__"):
        outputs[name] = np.empty(count, dtype=object)
    for row in range(count):
        failed = row == failing
        box = f'{{"bbox_2d": [3, 1, 6, 2], "label": "{row}"}}'
        outputs["generated_text"][row] = "" if failed else f" answer {row} {box} "
        outputs["generated_tokens"][row] = [] if failed else [5, 6]
        outputs["logprobs"][row] = None if failed else TOLD
        outputs["__inference_error__"][row] = "ValueError: too\nlong" if failed else ""
    return outputs


def test_each_row_asks_with_its_image_turns_and_question() -> None:
    requests = VllmRequests(7)(decoded())
    first, failed, _, last = requests["messages"]
    url = first[0]["content"][0]["image_url"]["url"]
    shown = np.asarray(PillowImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    np.testing.assert_array_equal(shown, np.arange(72, dtype=np.uint8).reshape(4, 6, 3))
    assert first[0]["content"][1] == {"type": "text", "text": "question 0?"}
    assert [message["role"] for message in last] == ["user", "assistant", "user"]
    assert last[0]["content"][0]["type"] == "image_url"
    assert [params["max_tokens"] for params in requests["sampling_params"]] == [7, 1, 7, 7]
    assert [part["type"] for part in failed[0]["content"]] == ["text"], "a row in error shows nothing"


def test_a_row_of_several_images_shows_them_all_and_gets_no_boxes() -> None:
    table = decoded()
    black = {"image_key": 9, "pixels": bytes(3), "height": 1, "width": 1}
    place = table.schema.get_field_index("extra_images")
    others = pa.array([[black, black], None, None, None], table.schema.field(place).type)
    table = table.set_column(place, table.schema.field(place), others)
    requests = VllmRequests(7)(table)
    assert [part["type"] for part in requests["messages"][0][0]["content"]] == ["image_url"] * 3 + ["text"]
    answered = VllmAnswers(VllmOptions(), boxes=True)(engine(requests, failing=2)).to_pylist()
    assert [bool(row["boxes"]) for row in answered] == [False, False, False, True]
    assert answered[0]["answer"].startswith("answer 0")


def test_every_row_comes_back_once_with_its_own_columns() -> None:
    table = VllmAnswers(VllmOptions(), boxes=True, attempt=2)(engine(VllmRequests(7)(decoded()), failing=2))
    assert table.schema == schema.with_kept(schema.answer_schema(False, boxes=True), KEPT)
    rows = table.to_pylist()
    assert [row["row_id"] for row in rows] == [100, 101, 102, 103]
    assert [row["sku"] for row in rows] == [f"sku {row}" for row in range(4)]
    assert [row["status"] for row in rows] == ["ok", "error", "error", "ok"]
    assert [row["error_code"] for row in rows] == [None, "image_undecodable", "model_error", None]
    assert rows[2]["error_message"] == "vLLM: ValueError: too long"
    assert rows[0]["answer"].startswith("answer 0 ")
    assert math.isclose(rows[0]["answer_score"], math.sqrt(0.125), rel_tol=1e-6)
    assert rows[3]["boxes"] == [{"label": "3", "x0": 30.0, "y0": 10.0, "x1": 60.0, "y1": 20.0}]
    assert {row["attempt"] for row in rows} == {2}
    assert rows[1]["answer"] is None
