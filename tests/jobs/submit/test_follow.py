"""Following a job: each message once over broken connections, the exit code of its end, what Ctrl-C does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from ray.job_submission import JobStatus

from vqa_ray.errors import RequestError, RunError, SubmittedJobError
from vqa_ray.jobs.submit import attempts, follow
from vqa_ray.jobs.submit.client import connect
from vqa_ray.jobs.submit.follow import Follower

JOB = "vqa-ray-tag-0123456789-1"
MESSAGES = ["loading\n", "10 rows\n", "20 rows\n", "done\n"]


class JobsApi:
    """The Jobs API of one job that ends with `status`; `cuts` say after how many messages a connection breaks."""

    def __init__(self, status: str, exit_code: int | None, cuts: list[int]) -> None:
        self.details = {
            "type": "SUBMISSION",
            "entrypoint": "",
            "status": status,
            "driver_exit_code": exit_code,
            "message": "the node has died",
        }
        self.cuts = cuts
        self.version: dict[str, Any] = {"ray_version": "2.60.0"}
        self.connections = 0
        self.has_messages = True
        self.refuses_after = 10**9
        self.list_failures = self.stops = self.unknown = 0

    async def about(self, _: web.Request) -> web.Response:
        self.refuses_after -= 1
        if self.refuses_after < 0:
            raise web.HTTPBadGateway
        return web.json_response(self.version)

    async def listed(self, _: web.Request) -> web.Response:
        self.list_failures -= 1
        if self.list_failures >= 0:
            raise web.HTTPInternalServerError
        return web.json_response([self.details | {"submission_id": JOB}])

    async def stopped(self, _: web.Request) -> web.Response:
        self.stops += 1
        raise web.HTTPBadRequest(text="not now") if self.stops == 1 else web.HTTPForbidden

    async def info(self, _: web.Request) -> web.Response:
        self.unknown -= 1
        if self.unknown >= 0:
            raise web.HTTPNotFound(text="Job does not exist")
        status = "RUNNING" if self.cuts else self.details["status"]
        return web.json_response(self.details | {"status": status})

    async def tail(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        if not self.has_messages:
            raise web.HTTPInternalServerError
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else len(MESSAGES)
        for text in MESSAGES[:cut]:
            await socket.send_str(text)
        if cut < len(MESSAGES):
            assert request.transport is not None
            request.transport.abort()
        return socket


@contextmanager
def served(status: str = "SUCCEEDED", exit_code: int | None = 0, cuts: tuple[int, ...] = ()) -> Iterator[Any]:
    api = JobsApi(status, exit_code, list(cuts))
    app = web.Application()
    app.router.add_get("/api/version", api.about)
    app.router.add_get(f"/api/jobs/{JOB}", api.info)
    app.router.add_get("/api/jobs/", api.listed)
    app.router.add_post(f"/api/jobs/{JOB}/stop", api.stopped)
    app.router.add_get(f"/api/jobs/{JOB}/logs/tail", api.tail)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    host, port = runner.addresses[0][:2]
    try:
        yield SimpleNamespace(api=api, url=f"http://{host}:{port}")
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_POLL_S", 0.01)


def test_each_message_is_shown_once_over_broken_connections(capsys: pytest.CaptureFixture[str]) -> None:
    with served(cuts=(0, 2, 1, 3)) as server:
        Follower(connect(server.url), JOB).follow()
        assert server.api.connections == 5
    assert capsys.readouterr().out == "".join(MESSAGES)


@pytest.mark.parametrize(
    ("status", "exit_code", "code", "message"),
    [
        ("FAILED", 3, 3, f"{JOB} has ended with exit code 3"),
        ("FAILED", -9, 137, "exit code 137"),
        ("FAILED", None, 1, "has failed: the node has died"),
        ("STOPPED", None, 143, "was stopped; the same command goes on from there"),
    ],
)
def test_the_exit_code_is_that_of_the_job(status: str, exit_code: int | None, code: int, message: str) -> None:
    with served(status, exit_code) as server, pytest.raises(SubmittedJobError, match=message) as error:
        Follower(connect(server.url), JOB).follow()
    assert error.value.exit_code == code


def test_a_job_whose_messages_are_gone_still_ends_with_its_code(caplog: pytest.LogCaptureFixture) -> None:
    with served("FAILED", 3) as server:
        server.api.has_messages = False
        with pytest.raises(SubmittedJobError) as error:
            Follower(connect(server.url), JOB).follow()
    assert error.value.exit_code == 3
    assert f"{JOB}: its messages cannot be read" in caplog.text


@pytest.mark.parametrize(("answers", "stops", "shown"), [("s", 1, 0), ("l", 0, 0), ("cl", 0, 0), ("c", 0, 1)])
def test_ctrl_c_asks(answers: str, stops: int, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given, stopped = list(answers), []
    monkeypatch.setattr(follow, "_answer", lambda: given.pop(0))
    monkeypatch.setattr(follow, "stop", lambda _, job: stopped.append(job))

    def until_end(self: Follower) -> Any:
        if given:
            raise KeyboardInterrupt
        return SimpleNamespace(status=JobStatus.SUCCEEDED)

    monkeypatch.setattr(Follower, "_until_end", until_end)
    with served() as server:
        follower = Follower(connect(server.url), JOB)
        if shown:
            follower.follow()
        else:
            with pytest.raises(KeyboardInterrupt):
                follower.follow()
    assert len(stopped) == stops


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ({"ray_version": "2.9.3"}, "the cluster runs Ray 2.9.3; wanted 2.60 or newer"),
        ({"name": "another"}, r"something else listens there \(HTTP 200\)"),
    ],
)
def test_another_server_and_an_old_cluster_are_refused(version: dict[str, str], message: str) -> None:
    with served() as server:
        server.api.version = version
        with pytest.raises(RequestError, match=message):
            connect(server.url)


def test_a_head_that_goes_away_between_two_questions_is_told() -> None:
    with served() as server:
        server.api.refuses_after = 1
        with pytest.raises(RunError, match=rf"{server.url}: the Jobs API fails: Failed to connect to Ray"):
            connect(server.url)


def test_a_job_that_a_new_head_does_not_know_is_told_soon() -> None:
    with served() as server:
        client = connect(server.url)
        server.api.unknown = follow._TRIES - 1
        Follower(client, JOB).follow()
        server.api.unknown = 100
        with pytest.raises(RunError, match=f"{JOB}: the cluster does not know this job any more"):
            Follower(client, JOB).follow()


def test_a_head_that_fails_is_asked_again_and_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PAUSES_S", (0.0,) * 5)
    with served() as server:
        client = connect(server.url)
        server.api.list_failures = 3
        assert [each.id for each in attempts.attempts(client)] == [JOB]
        server.api.list_failures = 100
        with pytest.raises(RunError, match="the cluster does not answer any more: 500"):
            attempts.attempts(client)
        with pytest.raises(RequestError, match=r"the cluster refuses: .*400.*not now"):
            follow.stop(client, JOB)
        with pytest.raises(RequestError, match=f"{server.url}: does not let this command in"):
            follow.stop(client, JOB)
