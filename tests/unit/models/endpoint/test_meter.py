"""What an endpoint takes: counted, priced, and never more than the budget and the limits of all processes together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.openai_server import TOKENS, WRITTEN, OpenaiServer, asked, serving
from tests.unit.stages.test_answer import decoded
from vqa_ray.errors import RequestError
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.meter import Meter
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.endpoint.rate_limit import RateLimit
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.stages.usage import without_unbudgeted
from vqa_ray.taxonomy.taxonomy import Attribute, Taxonomy
from vqa_ray.types import Usage

IMAGE = np.full((12, 20, 3), 200, np.uint8)
PRICES = Budget(price_input=2.0, price_output=10.0)
COST = ((TOKENS - WRITTEN) * 2.0 + WRITTEN * 10.0) / 1e6
USED = {"prompt_tokens": TOKENS - WRITTEN, "completion_tokens": WRITTEN, "cost": pytest.approx(COST)}


def options_of(server: OpenaiServer, budget: Budget = PRICES, **options: Any) -> ModelOptions:
    return ModelOptions("openai:tiny", endpoint=EndpointOptions(server.url, budget=budget, **options))


def usage_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in USED}


def test_every_row_says_what_it_took() -> None:
    table = decoded([{}, {"status": "error", "error_code": "image_missing"}])
    with serving(first={"yes": 0.9}) as server:
        options = options_of(server)
        pets = [Attribute(name=pet, question=f"a {pet}?", choices=["yes", "no"]) for pet in ("dog", "cat")]
        taxonomy = Taxonomy(attributes=pets)
        for stage, requests in (
            (AnswerStage(AnswerConfig(options, 1)), 1),
            (CaptionStage(CaptionConfig(options)), 1),
            (TagStage(TagConfig(options, taxonomy)), 2),
            (RetrieveStage(RetrieveConfig(options, parse('"a dog?" and "a cat?"'))), 2),
        ):
            ok, failed = stage(table).to_pylist()
            assert usage_of(ok) == {
                "prompt_tokens": requests * (TOKENS - WRITTEN),
                "completion_tokens": requests * WRITTEN,
                "cost": pytest.approx(requests * COST),
            }
            assert set(usage_of(failed).values()) == {None}


def test_each_question_of_a_row_says_what_it_took() -> None:
    table = decoded([{"questions": ["a?", "b?"]}])
    with serving() as server:
        stage = AnswerStage(AnswerConfig(options_of(server), 1, multi_question=True))
        packed = stage(table)
        form = stage._form
        assert [usage_of(row) for row in one_row_per_question(packed, form).to_pylist()] == [USED, USED]
        nested = AnswerStage(AnswerConfig(options_of(server, Budget()), 1, multi_question=True, nested=True))
        (row,) = nested(table).to_pylist()
        assert usage_of(row) == {"prompt_tokens": 180, "completion_tokens": 20, "cost": None}


def test_rows_of_a_model_that_runs_here_have_no_usage() -> None:
    assert "cost" not in AnswerStage(AnswerConfig(ModelOptions("fake:"), 1))(decoded([{}])).column_names


def test_a_budget_is_never_exceeded_and_leaves_whole_rows_for_later() -> None:
    rows = decoded([{"row_id": row, "questions": [f"{row} a?", f"{row} b?"]} for row in range(20)])
    most = 11.5 * COST
    with serving() as server:
        options = options_of(server, replace(PRICES, max_cost=most))
        stage = AnswerStage(AnswerConfig(replace(options, max_new_tokens=WRITTEN), 1, multi_question=True))
        found = without_unbudgeted(stage(rows))
        # What is left of the budget is less than the careful estimate of a request.
        assert len(server.bodies) in (10, 11)
        assert found.num_rows == 5
        written = one_row_per_question(found, stage._form).to_pylist()
    assert {row["error_code"] for row in written} == {None}
    assert sorted({row["row_id"] for row in written}) == list(range(5))


def test_a_budget_of_tokens_counts_answers_without_usage_by_estimate() -> None:
    with serving(has_usage=False) as server:
        options = options_of(server, Budget(max_total_tokens=1_000))
        table = AnswerStage(AnswerConfig(options, 1))(decoded([{"questions": [f"{n}?"]} for n in range(100)]))
        left = without_unbudgeted(table)
        assert 0 < left.num_rows < 100
        assert left.num_rows == len(server.bodies)
        assert set(left["prompt_tokens"].to_pylist()) == {None}


def test_a_first_answer_shows_what_images_take() -> None:
    """Requests go one at a time until the first answer, then as many as fit."""

    async def run() -> None:
        meter = Meter(RateLimit(None, None), Budget(max_total_tokens=1_000), 60.0)
        first = await meter.admit(10, 10)
        second = asyncio.create_task(meter.admit(10, 10))
        await asyncio.sleep(0.1)
        assert not second.done()
        assert first is not None
        # An image took 280 tokens more than expected: two such requests fit, with the 300 that are spent.
        await meter.settle(first, Usage(1, 290, 10))
        assert await second is not None
        assert await meter.admit(10, 10) is not None
        third = asyncio.create_task(meter.admit(10, 10))
        await asyncio.sleep(0.1)
        assert not third.done()
        assert meter.refused is None

    asyncio.run(run())


def test_a_failed_request_takes_nothing_and_a_smaller_one_makes_room() -> None:
    async def run() -> None:
        meter = Meter(RateLimit(None, None), Budget(max_total_tokens=100), 60.0, Usage(3, 40, 10))
        number = await meter.admit(25, 25)
        assert number is not None
        await meter.settle(number, None)
        number = await meter.admit(25, 25)
        assert number is not None
        await meter.settle(number, Usage(1, 5, 5))
        assert await meter.admit(20, 21) is None
        # Once there was no room, nothing goes any more, however small.
        assert await meter.admit(1, 1) is None
        assert meter.refused == Usage(1, 20, 21)
        assert meter.usage == Usage(4, 45, 15)

    asyncio.run(run())


def test_a_request_of_a_process_that_died_does_not_hold_the_others_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        meter = Meter(RateLimit(None, None), Budget(max_total_tokens=100), 60.0)
        assert await meter.admit(40, 40) is not None
        monkeypatch.setattr("vqa_ray.models.endpoint.meter._LOST_AFTER_S", -60.0)
        meter._under_way = {number: replace(each, until=0.0) for number, each in meter._under_way.items()}
        assert await asyncio.wait_for(meter.admit(40, 40), 5) is not None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"max_cost": 1.0}, "--max-cost 1: needs --price-input and --price-output"),
        ({"max_cost": 1.0, "price_input": 1.0}, "--max-cost 1: needs --price-output"),
        ({"price_output": 1.0}, "--price-output: needs --price-input too"),
    ],
)
def test_a_budget_without_prices_is_refused(given: dict[str, float], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        Budget(**given)  # type: ignore[arg-type]


def test_objects_are_asked_for_by_their_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    with serving(text=lambda body: ' {"a": 7} ') as server:
        model: Any = options_of(server).load()
        (written,) = model.fill([IMAGE], ["fill it"], schema)
        assert server.bodies[0]["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "object", "strict": True, "schema": schema},
        }
        assert asked(server.bodies[0]) == "fill it"
    assert (written.text, b"".join(written.tokens)) == (' {"a": 7}', b' {"a": 7}')
    assert (written.finish_reason, len(written.log_probabilities)) == ("stop", len(written.tokens))
    assert written.usage == Usage(1, TOKENS - WRITTEN, WRITTEN, pytest.approx(COST))
