"""Placement on machines of all kinds: pure numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.errors import RequestError
from vqa_ray.pipelines.resources import (
    DECODE_CPUS,
    ResourceRequest,
    minimum_resources,
    plan_resources,
    require_resources,
)
from vqa_ray.pipelines.training_resources import TrainingResourcePlan, TrainingResourceRequest, plan_training_resources

NUMBERS = st.one_of(st.none(), st.integers(1, 16))
GPUS = st.sampled_from([None, 0.0, 0.5, 1.0])


def test_two_cores_run_one_actor_on_both_beside_decoding() -> None:
    placement = plan_resources(4, 0, ResourceRequest(), cores=2)
    assert (placement.min_actors, placement.max_actors) == (1, 1)
    assert (placement.actor_threads, placement.actor_gpus, placement.batch_size) == (2, 0.0, 32)
    require_resources(minimum_resources(placement), {"CPU": 4}, "this machine")


@pytest.mark.parametrize(("cpus", "readers"), [(2, 1), (4, 1), (8, 2), (64, 16)])
def test_every_reader_is_a_process_more_so_there_are_few(cpus: int, readers: int) -> None:
    assert plan_resources(cpus, 0, ResourceRequest()).max_readers == readers


def test_large_cpu_machine_runs_several_actors() -> None:
    placement = plan_resources(64, 0, ResourceRequest())
    assert (placement.max_actors, placement.actor_cpus, placement.actor_threads) == (12, 4.0, 4)


def test_gpus_are_filled() -> None:
    placement = plan_resources(64, 8, ResourceRequest())
    assert (placement.max_actors, placement.actor_gpus, placement.batch_size) == (8, 1.0, 256)
    assert placement.actor_threads is None
    assert plan_resources(64, 8, ResourceRequest(gpus_per_actor=0.5)).max_actors == 16


def test_actors_that_share_a_gpu_do_not_lie_on_two() -> None:
    wishes = ResourceRequest(min_actors=3, max_actors=3, gpus_per_actor=0.6)
    assert plan_resources(64, 2, ResourceRequest(gpus_per_actor=0.6)).max_actors == 2
    with pytest.raises(RequestError, match="GPU 3 needed, 2 available"):
        require_resources(minimum_resources(plan_resources(64, 2, wishes)), {"CPU": 64, "GPU": 2}, "here")
    # Half of a GPU is left for this model where another has the other half.
    assert plan_resources(64, 0.5, ResourceRequest(gpus_per_actor=0.25)).max_actors == 2
    third = ResourceRequest(min_actors=6, max_actors=6, gpus_per_actor=1 / 3)
    assert minimum_resources(plan_resources(64, 2, third))["GPU"] == 2


def test_an_actor_lies_on_one_node() -> None:
    needed = minimum_resources(plan_resources(64, 4, ResourceRequest(gpus_per_actor=2.0)))
    require_resources(needed, {"CPU": 64, "GPU": 4, "GPU on one node": 2}, "here")
    with pytest.raises(RequestError, match="here: too small for this job: GPU on one node 2 needed, 1 available"):
        require_resources(needed, {"CPU": 64, "GPU": 4, "GPU on one node": 1}, "here")


@pytest.mark.parametrize("wishes", [ResourceRequest(device="cpu"), ResourceRequest(gpus_per_actor=0.0)])
def test_gpus_can_be_left_alone(wishes: ResourceRequest) -> None:
    assert plan_resources(64, 8, wishes).actor_gpus == 0.0


@given(
    st.integers(2, 128),
    st.integers(0, 16),
    st.builds(
        ResourceRequest,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.sampled_from([None, 0.0, 0.5, 1.0]),
        st.sampled_from([None, "cpu"]),
    ),
)
def test_every_placement_is_sound(cpus: int, gpus: int, wishes: ResourceRequest) -> None:
    placement = plan_resources(cpus, gpus, wishes)
    assert 1 <= placement.min_actors <= placement.max_actors
    assert placement.actor_cpus != DECODE_CPUS
    assert placement.block_bytes <= placement.buffer_bytes / 4
    assert placement.actor_threads is None or placement.actor_threads >= 1


def test_too_small_a_cluster_is_told_in_one_line() -> None:
    placement = plan_resources(4, 0, ResourceRequest(min_actors=4, max_actors=4), cores=2)
    with pytest.raises(RequestError) as caught:
        require_resources(minimum_resources(placement), {"CPU": 2}, "cluster head:6379")
    assert str(caught.value) == (
        "cluster head:6379: too small for this job: CPU 3.5 needed, 2 available; use a larger cluster, fewer "
        "--num-actors or --num-gpus, or --wait-for-cluster if it grows by itself"
    )
    with pytest.raises(RequestError, match="GPU 1 needed, 0 available"):
        require_resources(
            minimum_resources(plan_resources(8, 0, ResourceRequest(gpus_per_actor=1.0))), {"CPU": 8}, "here"
        )


def _training(image_bytes: int, workers: tuple[int, int] = (1, 1)) -> TrainingResourcePlan:
    return plan_training_resources(4, 0, TrainingResourceRequest(workers, None, 64, image_bytes, 60.0), cores=2)


def test_a_training_on_small_images_buffers_little() -> None:
    small, large = _training(64 * 64 * 3).rows, _training(384 * 512 * 3).rows
    assert small.buffer_bytes < large.buffer_bytes / 4
    assert small.max_readers == 1


@given(st.integers(1, 2**21), st.integers(1, 8), st.integers(1, 512))
def test_every_training_placement_is_sound(image_bytes: int, workers: int, batch_size: int) -> None:
    wishes = TrainingResourceRequest((workers, workers), None, batch_size, image_bytes, 60.0)
    rows = plan_training_resources(16, 0, wishes).rows
    assert rows.block_bytes <= rows.buffer_bytes / 4
    assert rows.rows_per_block >= 8


def test_read_blocks_grow_with_the_input_up_to_a_bound() -> None:
    plan = plan_resources(4, 0, ResourceRequest())
    assert [plan.rows_per_read_block(rows) for rows in (0, 1_000, 4_096, 12_800, 200_000, 10**9)] == [
        *(32, 32, 32, 100, 1_024, 1_024)
    ]
    # Where many tasks read, each block is read and decoded beside others.
    assert plan_resources(64, 0, ResourceRequest()).rows_per_read_block(200_000) == 97


def test_decoded_blocks_fill_batches() -> None:
    blocks = {size: plan_resources(4, 0, ResourceRequest(batch_size=size)).rows_per_block for size in range(1, 2_050)}
    assert [blocks[size] for size in (1, 3, 8, 32, 256, 300, 512, 1_000)] == [8, 9, 8, 32, 256, 300, 256, 250]
    assert all(size % rows == 0 or rows % size == 0 for size, rows in blocks.items())
    assert min(blocks.values()) == 8
