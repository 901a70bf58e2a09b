"""One to eight actors on logical GPUs, with a model that waits: what the pipeline leaves of eight times the rate."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import ray

from benchmarks import driver, machine, runs
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from vqa_ray.jobs.runtime.cluster import local as local_ray
from vqa_ray.pipelines import inference
from vqa_ray.pipelines.replaced import replaced
from vqa_ray.stages.answer import AnswerConfig, AnswerStage

_ACTORS = (1, 2, 4, 8)
# Half a CPU for each actor, the rest for reading, decoding and writing.
_CPUS = 8
_BATCH_ROWS, _CALL_S, _CALLS = 64, 0.8, 50
_ROWS_PER_FILE = 1_280


class Call(NamedTuple):
    """One call of a model.

    Attributes:
        actor: its process.
        begun_s, ended_s: on the clock of the machine.
        rows: of the call.
        busy_s: seconds that the cores of the machine had worked at its end.
    """

    actor: int
    begun_s: float
    ended_s: float
    rows: int
    busy_s: float = 0.0


class WaitingStage:
    """An `AnswerStage` whose calls all take the same time, most of which they wait, as for a GPU.

    Args:
        calls: a directory that takes the calls, a file for each actor.
        config, attempt: of the `AnswerStage`.
    """

    def __init__(self, calls: Path, config: AnswerConfig, attempt: int) -> None:
        self._stage, self._calls = AnswerStage(config, attempt), calls

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer a table, wait, and note the call."""
        begun_s, until = time.time(), time.monotonic() + _CALL_S
        answered = self._stage(table)
        time.sleep(max(0.0, until - time.monotonic()))
        with (self._calls / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            call = Call(os.getpid(), begun_s, time.time(), table.num_rows, machine.busy_s())
            file.write(json.dumps(call) + "\n")
        return answered


def measure(settings: Settings) -> Measured:
    """Rows a second while all actors of a pool work, for pools of several sizes, and what they are of the ideal."""
    calls = settings.pick(_CALLS, 6)
    local_ray.start(num_cpus=_CPUS, num_gpus=max(_ACTORS))
    try:
        made = {actors: _calls(actors, calls * actors, settings.scratch / f"{actors}") for actors in _ACTORS}
    finally:
        ray.shutdown()
    rates = {actors: rate_together(its) for actors, its in made.items()}
    return Measured(
        [
            *(figure(f"{actors} actors, `answer` under way", [rate], "rows/s") for actors, rate in rates.items()),
            *(
                figure(f"{actors} actors, busy cores meanwhile", [busy_cores(its)], "cores")
                for actors, its in made.items()
            ),
            *(_efficiency(actors, rates) for actors in _ACTORS[1:]),
        ],
        [
            f"`answer` with an actor on each of {max(_ACTORS)} logical GPUs, which Ray counts and nobody has; batches "
            f"of {_BATCH_ROWS} rows. The model is `fake:`, each of whose calls is drawn out to {_CALL_S:g} s by "
            f"waiting: {_BATCH_ROWS / _CALL_S:g} rows/s an actor at most. Counted is the time in which all actors are "
            f"at work, after the first call of each. {_CPUS} logical CPUs for reading, decoding, writing and the "
            f"actors; {calls} calls for each actor, on the images of the benchmark `driver`. Where all "
            f"{len(os.sched_getaffinity(0))} cores of this machine are busy, it is they that the actors wait for.",
        ],
    )


def _efficiency(actors: int, rates: dict[int, float]) -> Figure:
    share = rates[actors] / (actors * rates[1])
    return figure(f"{actors} actors to {actors} times one", [share], "×", at_least=0.95)


def _calls(actors: int, calls: int, scratch: Path) -> list[Call]:
    noted, input, output = scratch / "calls", scratch / "input", scratch / "output"
    noted.mkdir(parents=True)
    driver.draw(input, calls * _BATCH_ROWS)
    with replaced(inference, AnswerStage=partial(WaitingStage, noted)):
        runs.answer(
            input,
            output,
            "fake:",
            num_gpus=1.0,
            num_actors=str(actors),
            batch_size=_BATCH_ROWS,
            rows_per_file=_ROWS_PER_FILE,
        )
    lines = [line for path in noted.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    made = [Call(*json.loads(line)) for line in lines]
    assert sum(call.rows for call in made) == calls * _BATCH_ROWS
    assert len({call.actor for call in made}) == actors, "an actor started when the rows were done"
    return made


def rate_together(calls: Sequence[Call]) -> float:
    """Rows a second from the end of the last actor's first call to the begin of the first actor's last one.

    A call that is under way at one of these moments counts by its share of time.

    Raises:
        ValueError: the actors are never at work together.
    """
    begun_s, ended_s = _together(calls)
    within = [min(call.ended_s, ended_s) - max(call.begun_s, begun_s) for call in calls]
    rows = sum(
        call.rows * max(0.0, inside_s) / (call.ended_s - call.begun_s)
        for call, inside_s in zip(calls, within, strict=True)
    )
    return rows / (ended_s - begun_s)


def busy_cores(calls: Sequence[Call]) -> float:
    """Return how many cores worked, for any process, while all actors did.

    Raises:
        ValueError: the actors are never at work together.
    """
    begun_s, ended_s = _together(calls)
    within = sorted((call.ended_s, call.busy_s) for call in calls if begun_s <= call.ended_s <= ended_s)
    (first_s, before), (last_s, after) = within[0], within[-1]
    return (after - before) / (last_s - first_s)


def _together(calls: Sequence[Call]) -> tuple[float, float]:
    """Return the end of the last actor's first call and the begin of the first actor's last one."""
    by_actor: dict[int, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.begun_s):
        by_actor[call.actor].append(call)
    begun_s = max(own[0].ended_s for own in by_actor.values())
    ended_s = min(own[-1].begun_s for own in by_actor.values())
    if ended_s <= begun_s:
        raise ValueError(f"{len(by_actor)} actors are never at work together: too few calls")
    return begun_s, ended_s
