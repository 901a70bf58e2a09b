"""Products asked about as one row each: a run that is killed goes on, a retry asks failed products; without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import picture
from tests.helpers.tiny_chat import save_tiny_chat
from tests.helpers.updates import KilledError
from tests.jobs.commands import manifest, rows
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.jobs.answer.command import run
from vqa_ray.jobs.runtime.execute import Execution
from vqa_ray.jobs.runtime.job import Attempt, Job
from vqa_ray.jobs.runtime.model import model_options, open_model
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.size_report import ImageSizes
from vqa_ray.storage.atomic import write_table_atomic

NUMBERS = [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 0]


def install(monkeypatch: pytest.MonkeyPatch, spec: AnswerSpec, kills: list[int]) -> list[int]:
    """Run pipelines here, two products a file; a number in `kills` is of the file before which the process dies."""
    model = open_model(spec, "answer")
    asked: list[int] = []

    def execute(job: Job, work: Attempt, invocation: str) -> Execution:
        fetch = FetchImages(ImageFetcher(2**20), lenient=True)
        decode = DecodeImages(model.transform, ImageLimits(), lenient=True)
        stage = AnswerStage(
            AnswerConfig(model_options(spec, model), 5, boxes=model.family.has_boxes), work.directory.attempt
        )
        tables = [stage(decode(fetch(table))) for task in work.tasks for table in task()]
        found = pa.concat_tables(tables)
        asked.append(found.num_rows)
        suffix = "pq" if work.directory.has_private_parts else "parquet"
        for number, start in enumerate(range(0, found.num_rows, 2)):
            if kills and kills[0] == number:
                kills.pop()
                raise KilledError
            table = found.slice(start, 2).cast(job.file_schema(work.record))
            write_table_atomic(f"{work.directory.parts}/{invocation}_{number:06}-0.{suffix}", table)
            keys = f"{work.directory.checkpoint}/{invocation}/{invocation}_{number:06}.pq"
            write_table_atomic(keys, table.select(["source_key"]))
        return Execution({}, 0, None, ImageSizes(), ImageSizes())

    monkeypatch.setattr("vqa_ray.jobs.runtime.commit.execute", execute)
    return asked


def test_products_come_back_once_after_a_kill_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos").mkdir()
    for place, number in enumerate(NUMBERS):
        is_bad = place in (3, 10)
        (tmp_path / "photos" / f"{place}.jpg").write_bytes(b"no image" if is_bad else picture(number + 4 * place))
    uris = [f"photos/{place}.jpg" for place in range(len(NUMBERS))]
    table = pa.table({"image_uri": uris, "sku": [f"s{number}" for number in NUMBERS]})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    (tmp_path / "qwen").mkdir()
    given: dict[str, Any] = {
        "input": str(tmp_path / "in.parquet"),
        "output": str(tmp_path / "out"),
        "model": str(save_tiny_chat(tmp_path / "qwen", "qwen2_vl")),
        "question": ["what is it?"],
        "group_by": "sku",
        "combine": "together",
        "max_new_tokens": 4,
        "max_error_fraction": 1.0,
    }
    spec = AnswerSpec(**given)
    asked = install(monkeypatch, spec, kills=[1])
    with pytest.raises(KilledError):
        run(spec)
    run(spec)
    assert asked == [5, 3]
    found = sorted(rows(tmp_path / "out").to_pylist(), key=lambda row: row["source_key"])
    assert [row["sku"] for row in found] == ["s0", "s1", "s2", "s3", "s0"]
    assert [row["error_code"] for row in found] == [None, None, None, None, "image_undecodable"]
    assert found[1]["image_id"] == "photos/2.jpg, photos/3.jpg, photos/4.jpg"
    assert "1 of 3 photos left out: image_undecodable" in found[1]["warning"]
    assert manifest(tmp_path / "out")["findings"] == []
    assert "1 products have several rows" in caplog.text
    (tmp_path / "photos" / "10.jpg").write_bytes(picture(40))
    run(AnswerSpec(**given, retry_failed="image_undecodable"))
    assert asked == [5, 3, 1]
    again = sorted(rows(tmp_path / "out").to_pylist(), key=lambda row: row["source_key"])
    assert again[:4] == found[:4]
    assert (again[4]["status"], again[4]["attempt"]) == ("ok", 2)
