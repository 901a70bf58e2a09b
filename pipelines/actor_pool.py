"""The pool of actors that hold the model."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ray.data import ActorPoolStrategy, Dataset

from vqa_ray.cache.answer_cache import AnswerCache
from vqa_ray.pipelines.reports import row_report, size_report
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.model_actor import ModelActor, ModelStage


def map_on_actor_pool(
    images: Dataset,
    make_stage: Callable[[], ModelStage],
    resources: ResourcePlan,
    calls: int = 1,
    actor: type[ModelActor] = ModelActor,
    *,
    is_last: bool = True,
    cache: AnswerCache | None = None,
) -> Dataset:
    """Rows of a model stage that runs on the actor pool, an operator of its own even without a GPU.

    Args:
        images: DECODED rows.
        make_stage: loads the model in an actor, see `ModelActor`.
        resources: resources, pool and batch size.
        calls: calls of the stage at a time in one actor.
        actor: the class, whose name is that of the operator.
        is_last: whether its rows are those that are written, and so counted.
        cache: of the stage's models.
    """
    pool = ActorPoolStrategy(
        min_size=resources.min_actors,
        max_size=resources.max_actors,
        initial_size=resources.max_actors,
        # The next batch is assembled while the model works on this one.
        max_concurrent_calls_per_actor=calls + 1,
        max_tasks_in_flight_per_actor=2 * (calls + 1),
    )
    journal = CrashJournal(f"model-{uuid.uuid4().hex}")
    return images.map_batches(
        actor,
        fn_constructor_args=(make_stage, journal, row_report() if is_last else None, resources.actor_threads, calls),
        fn_constructor_kwargs={
            "cache": cache,
            "sizes": size_report(actor.__name__),
            "row_timeout_s": resources.row_timeout_s,
        },
        batch_size=resources.batch_size,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=resources.actor_cpus,
        num_gpus=resources.actor_gpus or None,
        udf_modifying_row_count=False,
    )
