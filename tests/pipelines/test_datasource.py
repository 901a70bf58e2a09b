"""The shape of the pipelines: what runs beside what, and how little travels to do it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ray.data import DataContext
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator
from ray.data._internal.execution.operators.task_pool_map_operator import TaskPoolMapOperator
from ray.data._internal.logical.optimizers import get_execution_plan

from tests.helpers.coloured import jsonl_input, parquet_input, table
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines import read_images
from vqa_ray.pipelines.datasource import shard_source
from vqa_ray.pipelines.inference import SecondModel, answer, caption, embed, tag
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.read_images import ImageConfig, max_useful_decoders, read, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan, ResourceRequest, plan_resources
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.stages.answer import AnswerConfig
from vqa_ray.stages.caption import CaptionConfig
from vqa_ray.stages.embed import EmbedConfig
from vqa_ray.stages.read import limits_for, read_tasks
from vqa_ray.stages.tag import TagConfig
from vqa_ray.taxonomy.file import default_taxonomy

pytestmark = pytest.mark.usefixtures("local_ray")

IMAGES = ImageConfig(FakeTransform(), ImageLimits(), fast_decode=False, allow_http=False, run_id="test")
MODEL = ModelOptions("fake:")


def placement(batch_size: int = 8) -> ResourcePlan:
    return plan_resources(4, 0, ResourceRequest(batch_size=batch_size), cores=2)


def operators(dataset) -> list[tuple[str, type, float]]:
    """(name, kind, CPUs) of each physical operator after optimisation, in order of the data's way."""
    plan, _ = get_execution_plan(dataset._logical_plan)
    found, operator = [], plan.dag
    while operator.input_dependencies:
        found.append((operator.name, type(operator), operator._ray_remote_args["num_cpus"]))
        (operator,) = operator.input_dependencies
    return found[::-1]


@pytest.mark.parametrize("job", ["answer", "tag", "caption", "embed"])
def test_reading_decoding_and_the_model_are_operators_of_their_own_without_a_gpu(tmp_path: Path, job: str) -> None:
    tasks = read_tasks(open_source(InputConfig(str(parquet_input(tmp_path / "in", 8)), needs_question=False)))
    if job == "answer":
        rows = answer(tasks, IMAGES, AnswerConfig(MODEL, top_k=2), placement(), 1)
    elif job == "tag":
        rows = tag(tasks, IMAGES, TagConfig(MODEL, default_taxonomy()), placement(), 1)
    elif job == "embed":
        rows = embed(tasks, IMAGES, EmbedConfig(MODEL), placement(), 1)
    else:
        rows = caption(tasks, IMAGES, CaptionConfig(MODEL), placement(), 1)
    names, kinds, cpus = zip(*operators(rows), strict=True)
    assert kinds == (TaskPoolMapOperator, TaskPoolMapOperator, ActorPoolMapOperator)
    assert names[0].startswith("ReadShards")
    decode = "MapBatches(PrepareImages)->StreamingRepartition[num_rows_per_block=8,strict=True]"
    assert names[1:] == (decode, "MapBatches(ModelActor)")
    assert cpus == (0.25, 1.0, 0.5)


def test_one_shard_becomes_many_blocks(tmp_path: Path) -> None:
    tasks = read_tasks(open_source(InputConfig(str(parquet_input(tmp_path / "in", 64, shards=1)))))
    blocks = [bundle.num_rows() for bundle in read(tasks, placement(8)).iter_internal_ref_bundles()]
    assert sum(blocks) == 64
    assert max(blocks) <= 8


@pytest.mark.parametrize("max_concurrency", [None, 2])
def test_decoded_blocks_are_full_whatever_the_shards(
    tmp_path: Path, max_concurrency: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, rows in enumerate((100, 28, 1, 50)):
        parquet_input(tmp_path / "in" / f"{number}", rows, shards=1)
    monkeypatch.setattr(read_images, "max_useful_decoders", lambda tasks: max_concurrency)
    tasks = read_tasks(open_source(InputConfig(str(tmp_path / "in"))))
    decoded = read_and_decode(tasks, IMAGES, placement(16))
    assert len(operators(decoded)) == 2
    blocks = [block.metadata.num_rows for bundle in decoded.iter_internal_ref_bundles() for block in bundle.blocks]
    assert sorted(blocks) == [179 % 16, *[16] * (179 // 16)]


def test_what_a_second_model_is_asked_comes_in_full_blocks_of_its_own_size(tmp_path: Path) -> None:
    tasks = read_tasks(open_source(InputConfig(str(parquet_input(tmp_path / "in", 8)))))
    resources = replace(placement(16), second=placement(8))
    opinions: Any = object()
    second = SecondModel(AnswerConfig(MODEL, top_k=1), IMAGES, opinions)
    rows = answer(tasks, IMAGES, AnswerConfig(MODEL, top_k=2), resources, 1, second=second)
    names = [name for name, _, _ in operators(rows)]
    assert "num_rows_per_block=16," in names[1]
    assert "num_rows_per_block=8," in names[3]


def test_tasks_do_not_grow_with_the_number_of_shards(tmp_path: Path) -> None:
    directory = parquet_input(tmp_path / "in", 2, shards=1)
    few = len(pickle.dumps(read_tasks(open_source(InputConfig(str(directory))))[0]))
    for number in range(200):
        pq.write_table(table(1), directory / f"more-{number}.parquet")
    many = len(pickle.dumps(read_tasks(open_source(InputConfig(str(directory))))[0]))
    assert many <= few + 100


def test_estimates_come_from_rows_or_bytes(tmp_path: Path) -> None:
    known = shard_source(read_tasks(open_source(InputConfig(str(parquet_input(tmp_path / "a", 20))))))
    assert known.estimated_rows() == 20
    unknown = shard_source(read_tasks(open_source(InputConfig(str(jsonl_input(tmp_path / "b", 300))))))
    assert 50 <= unknown.estimated_rows() <= 300


def test_small_inputs_are_worth_few_decoders(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(bytes(11 * 2**20))
    source = open_source(InputConfig(str(tmp_path), questions=("what?",)))
    assert max_useful_decoders(read_tasks(source)) == 3
    plan, _ = get_execution_plan(read_and_decode(read_tasks(source), IMAGES, placement())._logical_plan)
    assert plan.dag._max_concurrency == 3
    assert max_useful_decoders(read_tasks(source, limits=limits_for(source, 1))) == 1
    told = read_tasks(open_source(InputConfig(str(jsonl_input(tmp_path / "in", 30)))))
    assert max_useful_decoders(told) is None, "references tell nothing of the size of the images"


def test_limits_leave_later_shards_out(tmp_path: Path) -> None:
    source = open_source(InputConfig(str(parquet_input(tmp_path / "in", 30, shards=3))))
    assert limits_for(source, 15) == {0: 10, 1: 5}
    assert [task.rows for task in read_tasks(source, limits=limits_for(source, 15))] == [10, 5]


def test_settings_are_a_copy() -> None:
    before = DataContext.get_current().target_max_block_size
    context = run_context(placement(), None, 60.0)
    assert context.target_max_block_size != before
    assert DataContext.get_current().target_max_block_size == before
