"""What a model sees of its images: sizes, tiles, tokens."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.helpers.tiny import save_tiny_vilt
from tests.helpers.tiny_chat import save_tiny_chat
from vqa_ray import schema
from vqa_ray.jobs.runtime.images_seen import seen_line
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.seen_images import describe_seen
from vqa_ray.stages.size_report import ImageSizes, SizeReport


def test_a_chat_model_is_measured_by_its_processor(tmp_path: Path) -> None:
    model = Checkpoint.open(str(save_tiny_chat(tmp_path, "qwen2_vl"))).limited(28 * 28 * 4)
    sizes = [(200, 100), (400, 400), (1000, 600)]
    images = {(model.transform.target_size(*size), size): 2 for size in sizes}
    seen = describe_seen(model, images)
    assert (seen["family"], seen["images"]) == ("qwen2_vl", 6)
    assert seen["file"] == {"min": [200, 100], "median": [400, 400], "max": [1000, 600]}
    assert all(side % 28 == 0 for size in seen["seen"].values() for side in size)
    assert all(seen["tokens"][name] == size[0] * size[1] // 28**2 for name, size in seen["seen"].items())
    assert seen["tiles"] == {"min": 1, "median": 1, "max": 1}
    assert seen["much_reduced"] == 6, "four patches are little of any of them"


def test_a_model_that_tiles(tmp_path: Path) -> None:
    model = Checkpoint.open(str(save_tiny_chat(tmp_path, "llava_next")))
    seen = describe_seen(model, {((60, 90), (60, 90)): 1})
    assert seen["tiles"]["median"] > 1
    assert seen["tokens"]["median"] > 1
    assert seen["much_reduced"] == 0


def test_other_families_count_patches_and_endpoints_nothing(tmp_path: Path) -> None:
    vilt = Checkpoint.open(str(save_tiny_vilt(tmp_path / "vilt")))
    side = vilt.config["patch_size"]
    seen = describe_seen(vilt, {((4 * side, 6 * side), (480, 720)): 1})
    assert seen["tokens"]["median"] == 24
    endpoint = describe_seen(
        Checkpoint.open("openai:gpt"),
        {((300, 200), (3000, 2000)): 3, ((300, 200), (500, 300)): 1, ((30, 20), (30, 20)): 1},
    )
    assert endpoint["tokens"] == {"min": None, "median": None, "max": None}
    told = "200 x 300 of 2000 x 3000, 60% at less than a quarter of their area (median of 5)"
    assert seen_line(endpoint) == f"  images as {endpoint['family']} sees them: {told}"


def test_sizes_of_a_process_are_stored_and_added_up() -> None:
    stored: dict[str, bytes] = {}
    report = SizeReport(stored.__setitem__, "run-")
    row = {"source_key": 1, "row_id": 1, "height": 3, "width": 4, "source_height": 30, "source_width": 40}
    rows = [row | {"status": "ok"}, row | {"status": "error", "height": None}, row | {"status": "ok"}]
    report.add(pa.Table.from_pylist(rows, schema=schema.DECODED))
    (data,) = stored.values()
    total = ImageSizes.from_json(data) + ImageSizes.from_json(data)
    assert total.images == {((3, 4), (30, 40)): 4}


@pytest.mark.parametrize("tiles", [None, 1, 5])
def test_the_line_of_a_summary(tiles: int | None) -> None:
    three = ("min", "median", "max")
    seen = {
        "family": "x",
        "images": 10,
        "seen": {name: [28, 56] for name in three},
        "file": {name: [28, 56] for name in three},
        "tokens": dict.fromkeys(three, 1234),
        "tiles": dict.fromkeys(three, tiles),
        "much_reduced": 0,
    }
    in_tiles = " in 5 tiles" if tiles == 5 else ""
    assert seen_line(seen) == f"  images as x sees them: 56 x 28 of 56 x 28, 1,234 tokens{in_tiles} (median of 10)"
