"""What a cache collects leaves a model's actor with its rows, whatever stage and however many models it holds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stages.test_answer import decoded
from vqa_ray.cache.answer_cache import AnswerCache, of_process, write_news
from vqa_ray.cache.directory import open_directory
from vqa_ray.cache.entries import NEWS, CacheUsage, detach
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.model_actor import ModelActor
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.taxonomy import Taxonomy

ROWS = [{"colour": (220, 30, 30)}, {"colour": (30, 160, 60)}, {"colour": (220, 30, 30)}, {"colour": (1, 2, 3)}]
# Of two models, and one question that applies to some images only.
TAXONOMY = Taxonomy.model_validate(
    {
        "attributes": [
            {"name": "colour", "question": "what colour?", "choices": ["red", "green", "blue"]},
            {"name": "shade", "question": "which shade?", "choices": ["dark", "light"], "model": "fake:boxes"},
            {
                "name": "red",
                "question": "is it {choice}?",
                "choices": ["red"],
                "mode": "yes_no",
                "when": "colour == red",
            },
        ]
    }
)
Made = Callable[[ModelOptions], Any]


def _tag(model: ModelOptions) -> Any:
    return partial(TagStage, TagConfig(model, TAXONOMY))


def _answer(model: ModelOptions) -> Any:
    return partial(AnswerStage, AnswerConfig(model, 3))


def _caption(model: ModelOptions) -> Any:
    return partial(CaptionStage, CaptionConfig(model))


def _retrieve(model: ModelOptions) -> Any:
    return partial(RetrieveStage, RetrieveConfig(model, parse('"is it red?" and not "is it blue?"')))


def _actor(directory: Path, make: Made, cache: AnswerCache | None) -> ModelActor:
    """An actor as a worker makes it: from what was sent to it, the stage and the cache apart."""
    of_process.cache_clear()
    sent = [pickle.dumps(each) for each in (make(ModelOptions("fake:", cache=cache)), cache)]
    stage, cache = map(pickle.loads, sent)
    return ModelActor(stage, CrashJournal("run", directory), cache=cache)


@pytest.mark.parametrize("make", [_tag, _answer, _caption, _retrieve])
def test_a_second_actor_asks_nothing(tmp_path: Path, make: Made) -> None:
    uri, table = str(tmp_path / "cache"), decoded(ROWS)
    open_directory(uri)
    plain = _actor(tmp_path, make, None)(table)
    assert NEWS.name not in plain.column_names
    usage, rows = [], []
    for _ in range(2):
        result, news = detach(_actor(tmp_path, make, AnswerCache(uri))(table))
        rows.append(result)
        usage.append(write_news(uri, news))
    assert rows[0].equals(plain)
    assert rows[1].equals(plain)
    assert usage[0].misses > 0
    assert (usage[1].misses, usage[1].hits) == (0, usage[0].hits + usage[0].misses)


def test_news_of_an_earlier_actor_pass_through_and_rows_that_stay_behind_keep_theirs(tmp_path: Path) -> None:
    uri, table = str(tmp_path / "cache"), decoded(ROWS)
    open_directory(uri)
    first = _actor(tmp_path, _answer, AnswerCache(uri))(table).select([NEWS.name])
    carried = table.append_column(NEWS, first[NEWS.name])
    actor = _actor(tmp_path, _caption, AnswerCache(uri))
    rest, news = detach(actor(carried))
    assert rest.num_rows == len(ROWS)
    # Two rows ask the same of the same image, and have one caption.
    assert write_news(uri, news) == CacheUsage(1, 6, pytest.approx(0.0, abs=1.0))


def test_a_batch_without_rows_keeps_its_news_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, table = str(tmp_path / "cache"), decoded(ROWS)
    open_directory(uri)
    actor = _actor(tmp_path, _answer, AnswerCache(uri))
    with monkeypatch.context() as patch:
        # As where a budget is spent.
        patch.setattr("vqa_ray.stages.model_actor.without_unbudgeted", lambda result: result.slice(0, 0))
        empty = actor(table)
    assert (empty.num_rows, NEWS.name in empty.column_names) == (0, True)
    _, news = detach(actor(table))
    assert sum(len(cell["entries"]) for cell in news) == 3
