"""Models behind an endpoint, asked of a server that fails on demand: nothing lost, nothing doubled, limits kept."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.openai_server import ANSWER, OpenaiServer, asked, serving, shown_images
from tests.unit.stages.test_answer import decoded
from vqa_ray.errors import RequestError, RowError
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.client import Client
from vqa_ray.models.endpoint.completion import Completion
from vqa_ray.models.endpoint.family import ENDPOINT
from vqa_ray.models.endpoint.meter import Meter
from vqa_ray.models.endpoint.model import UNSCORED, EndpointModel
from vqa_ray.models.endpoint.options import EndpointOptions, checked_base_url
from vqa_ray.models.endpoint.probe import require_answer
from vqa_ray.models.endpoint.question import Question
from vqa_ray.models.endpoint.rate_limit import RateLimit
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import GenerativeModel
from vqa_ray.predicates.parser import parse
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.types import Usage

IMAGE = np.full((12, 20, 3), (200, 30, 30), np.uint8)
NAME = "openai:tiny"


@pytest.fixture
def server() -> Iterator[OpenaiServer]:
    with serving() as server:
        yield server


def model_of(server: OpenaiServer, **options: Any) -> EndpointModel:
    given = EndpointOptions(server.url, **{"timeout_s": 60.0, "image_encoding": "png"} | options)
    return EndpointModel(Client(given, f"model {NAME}", backoff_s=0.01), "tiny", GenerationConfig(), given)


def options_of(server: OpenaiServer, **options: Any) -> ModelOptions:
    return ModelOptions(NAME, endpoint=EndpointOptions(server.url, **options))


def test_answers_have_the_mean_probability_of_their_tokens(server: OpenaiServer) -> None:
    model: GenerativeModel = model_of(server)
    ((answer,),) = model.answer([IMAGE], [["which colour?"]], 1, contexts=[[[("a dog?", "no")]]])
    assert answer.answers == ((ANSWER, pytest.approx(0.5)),)
    assert (answer.finish_reason, answer.warning) == ("stop", None)
    (body,) = server.bodies
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert asked(body) == "which colour?"
    (shown,) = shown_images(body)
    assert np.array_equal(np.asarray(shown), IMAGE)


def test_several_images_stand_before_the_question(server: OpenaiServer) -> None:
    model_of(server, image_encoding="jpeg").answer([(IMAGE, IMAGE[:6])], [["the same?"]], 1)
    assert [(image.format, image.size) for image in shown_images(server.bodies[0])] == [
        ("JPEG", (20, 12)),
        ("JPEG", (20, 6)),
    ]


def test_without_log_probabilities_the_score_is_null_and_says_why() -> None:
    with serving(fault=lambda number: "no logprobs") as server:
        table = AnswerStage(AnswerConfig(options_of(server), 1))(decoded([{}]))
        (row,) = table.to_pylist()
        assert (row["status"], row["answer"], row["answer_score"], row["warning"]) == ("ok", ANSWER, None, UNSCORED)
        assert row["answers"] == [{"answer": ANSWER, "score": None}]
        (row,) = CaptionStage(CaptionConfig(options_of(server)))(decoded([{}])).to_pylist()
        assert (row["caption"], row["caption_score"], row["warning"]) == (ANSWER, None, UNSCORED)


def test_a_field_that_the_server_does_not_take_is_left_out_by_all() -> None:
    with serving(fault=lambda number: "no logprobs") as server:
        (answers,) = model_of(server).answer([IMAGE], [[f"question {number}" for number in range(40)]], 1)
        assert [answer.warning for answer in answers] == [UNSCORED] * 40
        assert len(server.answered) == 40


def test_a_caption_that_does_not_begin_as_wished_says_so(server: OpenaiServer) -> None:
    (caption,) = model_of(server).caption([IMAGE], "It is")
    assert caption.warning is None
    (caption,) = model_of(server).caption([IMAGE], "a photo of")
    assert caption.warning == "the model did not begin with 'a photo of'"


def test_choices_are_scored_by_the_first_token_where_it_decides() -> None:
    with serving(first={"yes": 0.5, " Yes": 0.1, "No": 0.2, "\n": 0.1}) as server:
        ((scored,),) = model_of(server).score([IMAGE], [["a dog?"]], [[("yes", "no", " ")]])
        assert scored.scores[:2] == pytest.approx((0.75, 0.25))
        assert math.isnan(scored.scores[2])
        assert len(server.bodies) == 1


def test_choices_that_begin_alike_are_named() -> None:
    with serving(first={"dark": 0.9}, text=lambda body: "Dark red.") as server:
        ((scored,),) = model_of(server).score([IMAGE], [["colour?"]], [[("dark blue", "dark red")]])
        assert scored.scores == (0.0, 1.0)
        assert len(server.bodies) == 1


def test_choices_that_differ_in_case_alone_are_told_apart() -> None:
    def text(body: dict[str, Any]) -> str:
        return json.dumps({"choice": "US"}) if body.get("response_format") else "us."

    with serving(first={"us": 0.9}, text=text) as server:
        ((scored,),) = model_of(server).score([IMAGE], [["whose?"]], [[("us", "US", "it")]])
        assert scored.scores == (0.0, 1.0, 0.0)
        assert len(server.bodies) == 2


def test_an_answer_outside_the_choices_is_asked_again_held_to_them() -> None:
    def text(body: dict[str, Any]) -> str:
        held = body.get("response_format")
        return json.dumps({"choice": "no"}) if held else "it depends"

    with serving(text=text) as server:
        ((scored,),) = model_of(server).score([IMAGE], [["a dog?"]], [[("yes", "no")]])
        assert scored.scores == (0.0, 1.0)
        schema = server.bodies[1]["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["choice"]["enum"] == ["yes", "no"]
    with serving() as server, pytest.raises(RowError, match="endpoint_failed: the model answered 'it is red', none of"):
        model_of(server).score([IMAGE], [["a dog?"]], [[("yes", "no")]])


class Told:
    """A client that tells one answer."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    def ask(self, questions: Sequence[Question]) -> list[Completion | RowError]:
        return [self._completion] * len(questions)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("tokens", "is_scored"),
    [
        ((b'{"a":', b"1}"), True),
        ((b'{"a":', b"1}", b"<|im_end|>"), True),
        ((b'{"a":', b"1"), False),
        ((b'{"b":', b"1}"), False),
        ((), False),
    ],
)
def test_an_object_is_scored_by_the_tokens_that_spell_it(tokens: tuple[bytes, ...], is_scored: bool) -> None:
    """Behind it, some servers list the token that closes it; others list none, or other words."""
    given = tuple(-0.1 * place for place, _ in enumerate(tokens)) or None
    completion = Completion(None, '{"a":1}\n', "stop", tokens, given, {}, None)
    model = EndpointModel(Told(completion), "tiny", GenerationConfig(), EndpointOptions("http://localhost"))
    (written,) = model.fill([IMAGE], ["a?"], {})
    assert (written.text, written.warning) == ('{"a":1}', None if is_scored else UNSCORED)
    assert written.tokens == ((b'{"a":', b"1}") if is_scored else ())
    assert written.log_probabilities == ((0.0, -0.1) if is_scored else None)


FAULTS = ("429", "500", "cut", "wrong json", "wrong id")


def test_a_tenth_of_each_fault_loses_and_doubles_nothing() -> None:
    rows, seen = 2_000, Counter[str]()
    answers: dict[int, str] = {}

    def fault(number: int) -> str | None:
        kind = FAULTS[number % 10] if number % 10 < len(FAULTS) and number > 10 else None
        if kind == "wrong id" and answers:
            # A client that begins anew does not know the ids of another.
            return None
        seen[str(kind)] += 1
        return kind

    def text(body: dict[str, Any]) -> str:
        return f"answer to {asked(body)}"

    table = decoded([{"row_id": number, "questions": [f"question {number}"]} for number in range(rows)])
    with serving(fault=fault, text=text) as server:
        # A run, and what `--retry-failed` asks again.
        while len(answers) < rows:
            stage = AnswerStage(AnswerConfig(options_of(server), 1))
            stage._model = model_of(server)
            left = [number for number in range(rows) if number not in answers]
            found = stage(table.take(left)).to_pylist()
            assert [row["row_id"] for row in found] == left
            assert {row["error_code"] for row in found} <= {None, "endpoint_failed"}
            answers |= {row["row_id"]: row["answer"] for row in found if row["error_code"] is None}
            if len(left) == rows:
                # Six attempts, each of which fails with 0.5.
                assert len(answers) > 0.9 * rows
    assert answers == {number: f"answer to question {number}" for number in range(rows)}
    assert all(seen[kind] > rows / 10 for kind in FAULTS)
    assert len(server.answered) == rows
    assert server.asked_after_success <= 0.01 * rows


def test_silence_is_asked_again() -> None:
    with serving(fault=lambda number: "slow" if number % 10 == 3 else None) as server:
        (answers,) = model_of(server, timeout_s=2.0).answer([IMAGE[:2, :2]], [[f"question {n}" for n in range(200)]], 1)
    assert [answer.answers[0][0] for answer in answers] == [ANSWER] * 200
    assert len(server.answered) == 200


def test_a_failed_row_is_typed_and_the_others_are_asked_once() -> None:
    def text(body: dict[str, Any]) -> str:
        return asked(body)

    def fault(number: int) -> str | None:
        faults = {"bad": "refusal", "filtered": "filter", "long": "400", "forbidden": "filtered request"}
        return faults.get(asked(server.bodies[number]))

    with serving(text=text, fault=fault) as server:
        words = ["a", "bad", "c", "filtered", "e", "long", "g", "forbidden"]
        stage = AnswerStage(AnswerConfig(options_of(server), 1))
        rows = stage(decoded([{"questions": [word]} for word in words])).to_pylist()
    assert [row["error_code"] for row in rows] == [
        *(None, "endpoint_refused", None, "endpoint_refused"),
        *(None, "endpoint_failed", None, "endpoint_refused"),
    ]
    assert [row["answer"] for row in rows if row["error_code"] is None] == ["a", "c", "e", "g"]
    assert rows[1]["error_message"] == "I can't help."
    assert rows[5]["error_message"] == "HTTP 400: This model's maximum context length is 12 tokens"
    assert rows[7]["error_message"] == "HTTP 400: The prompt was filtered"
    assert len(server.bodies) == len(words)


def test_a_row_that_fails_every_time_is_an_error_row() -> None:
    with (
        serving(fault=lambda number: "500") as server,
        pytest.raises(RowError, match=r"500: oops \(attempts: 6\)"),
    ):
        model_of(server).answer([IMAGE], [["a?"]], 1)
    assert len(server.bodies) == 6


def test_what_no_question_survives_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret-1")
    with serving(key="secret-2") as server:
        stage = AnswerStage(AnswerConfig(options_of(server, key_variable="SOME_KEY"), 1))
        with pytest.raises(RequestError, match="HTTP 401: the key in SOME_KEY is not accepted") as refused:
            stage(decoded([{}, {}]))
        assert "secret" not in str(refused.value)
        with pytest.raises(RequestError, match="HTTP 401: wanted a key; set OPENAI_API_KEY"):
            require_answer(NAME, EndpointOptions(server.url))
    with (
        serving(fault=lambda number: "404") as server,
        pytest.raises(RequestError, match="404: The model tiny does"),
    ):
        require_answer(NAME, EndpointOptions(server.url))
    with pytest.raises(RequestError, match=r"no connection to 127.0.0.1:\d+: Connection refused \(attempts: 3\)"):
        require_answer(NAME, EndpointOptions(server.url))
    with (
        serving(fault=lambda number: "wrong json") as server,
        pytest.raises(RequestError, match="sent no chat completion but '<html>busy</html>'"),
    ):
        require_answer(NAME, EndpointOptions(server.url))


def test_the_key_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret-1")
    with serving(key="secret-1") as server:
        options = options_of(server, key_variable="SOME_KEY")
        assert "secret" not in repr(options)
        ((answer,),) = options.load().answer([IMAGE], [["a?"]], 1)
        assert answer.answers[0][0] == ANSWER
        server.fault = lambda number: "key"
        with pytest.raises(RowError, match=r"HTTP 400: no use for Bearer \*\*\*$"):
            options.load().answer([IMAGE], [["a?"]], 1)
    monkeypatch.setenv("SOME_KEY", "")
    with pytest.raises(RequestError, match="SOME_KEY is not set"):
        options.load()


def test_retrieve_counts_an_equal_answer_without_a_score_as_sure() -> None:
    with serving(text=lambda body: "Red", fault=lambda number: "no logprobs") as server:
        predicate = parse('"which colour?" = "red"')
        stage = RetrieveStage(RetrieveConfig(options_of(server), predicate, free_answers=True))
        (row,) = stage(decoded([{}])).to_pylist()
    assert (row["match"], row["score"]) == (True, 1.0)


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(("requests", "tokens"), [(120, None), (None, 60_000), (24, 30_000), (7, None)])
def test_four_actors_never_exceed_the_limits(requests: int | None, tokens: int | None) -> None:
    sent: list[tuple[float, int]] = []
    time = Time()
    meter = Meter(RateLimit(requests, tokens, time.clock, time.sleep), Budget(), 60.0)

    async def actor() -> None:
        for number in range(60):
            ticket = await meter.admit(300, 100)
            assert ticket is not None
            used = 300 + 10 * (number % 10)
            sent.append((time.now, used))
            await meter.settle(ticket, Usage(1, used, 0))

    async def all_actors() -> None:
        await asyncio.gather(*(actor() for _ in range(4)))

    asyncio.run(all_actors())
    assert len(sent) == 240
    for seconds in (10.0, 60.0):
        for start, _ in sent:
            inside = [used for at, used in sent if start <= at < start + seconds]
            # A window smaller than one request holds one.
            assert len(inside) <= max(1, (requests or math.inf) * seconds / 60)
            assert sum(inside) <= (tokens or math.inf) * seconds / 60


def test_a_request_that_was_long_on_its_way_stays_longer_in_its_window() -> None:
    async def run() -> None:
        time = Time()
        limit = RateLimit(6, None, time.clock, time.sleep)
        ticket = await limit.acquire(1)
        time.now = 1.5
        limit.settle(ticket, 1)
        # Until its answer came, it may have been anywhere; without one, for two seconds.
        assert (await limit.acquire(1)).at == pytest.approx(11.5)
        assert (await limit.acquire(1)).at == pytest.approx(23.5)

    asyncio.run(run())


def test_the_request_that_checks_an_endpoint_counts_for_its_limit() -> None:
    with serving(fault=lambda number: "500" if number == 0 else None) as server:
        options = require_answer(NAME, EndpointOptions(server.url, requests_per_minute=12))
        assert len(server.bodies) == options.asked == 2
    time = Time()
    limit = RateLimit(options.requests_per_minute, None, time.clock, time.sleep, options.asked)
    # Ten seconds hold two.
    assert asyncio.run(limit.acquire(1)).at == pytest.approx(10.0)


def test_a_pause_that_the_server_wishes_holds_everything_back() -> None:
    time = Time()
    limit = RateLimit(None, None, time.clock, time.sleep)
    limit.pause(7.0)
    assert asyncio.run(limit.acquire(1)).at == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://user:pw@host/v1", "holds credentials"),
        ("https://host/v1?api-key=x", "holds a query"),
        ("http://example.com/v1", "unencrypted to example.com"),
        ("ftp://host/v1", "wanted http"),
        ("localhost:8000", "wanted http"),
        ("http://host:x/v1", "not a URL"),
    ],
)
def test_base_urls_that_are_refused(url: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        checked_base_url(url, allow_http=False)
    assert "pw" not in str(refused.value)


def test_base_urls_that_are_taken() -> None:
    for url in ("http://127.0.0.1:1/v1", "http://[::1]/v1", "http://localhost/v1", "https://host/v1"):
        assert checked_base_url(f"{url}/", allow_http=False) == url
    assert checked_base_url("http://host/v1/chat/completions", allow_http=True) == "http://host/v1"


@pytest.mark.parametrize(
    "given",
    [{"dtype": "float32"}, {"device": "cuda"}, {"num_beams": 2}, {"engine": "vllm"}, {"prompt_template": "lavis"}],
)
def test_what_the_endpoint_decides_is_refused(given: dict[str, Any]) -> None:
    options = ModelOptions(NAME, endpoint=EndpointOptions("http://localhost/v1"))
    assert options.checkpoint.family == ENDPOINT
    with pytest.raises(RequestError, match="openai"):
        replace(options, **given).check()


def test_a_model_without_an_endpoint_or_a_name_is_refused() -> None:
    with pytest.raises(RequestError, match="needs --base-url"):
        ModelOptions(NAME).load()
    with pytest.raises(RequestError, match="wanted openai:NAME"):
        ModelOptions("openai:").load()
