"""An OpenAI-compatible server that fails on demand, in a thread of the test process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image as PillowImage

ANSWER, TOKENS, WRITTEN = "it is red", 100, 10
Fault = Callable[[int], str | None]


@dataclass
class OpenaiServer:
    """A server, and what it has seen.

    Attributes:
        fault: number of a request → how it fails; None to answer it.
        text: what it answers.
        id_of: number of a request → the id of its answer.
        first: likeliest first tokens → probability.
        key: wanted in requests; None accepts any.
        bodies: of the requests, in order.
        times: of their arrival.
        answered: bodies that were answered, with how often.
    """

    fault: Fault = lambda number: None
    text: Callable[[dict[str, Any]], str] = lambda body: ANSWER
    id_of: Callable[[int], str] = "answer-{:032x}".format
    first: dict[str, float] = field(default_factory=dict)
    has_logprobs: bool = True
    has_usage: bool = True
    key: str | None = None
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    asked_after_success: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.text()
        body = json.loads(raw)
        self.bodies.append(body)
        self.times.append(time.monotonic())
        number = len(self.bodies) - 1
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        self.asked_after_success += raw in self.answered
        fault = self.fault(number)
        content = self._completion(body, number)
        match fault:
            case "429":
                return _error(429, "slow down", {"Retry-After": "0.02"})
            case "500":
                return _error(500, "oops")
            case "404":
                return _error(404, f"The model {body['model']} does not exist.")
            case "400":
                return _error(400, "This model's maximum context length is 12 tokens")
            case "filtered request":
                return _error(400, "The prompt was filtered", code="content_filter")
            case "key":
                return _error(400, f"no use for {request.headers.get('Authorization')}")
            case "no logprobs" if "logprobs" in body:
                return _error(400, "logprobs are not supported by this model")
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": str(len(json.dumps(content)))})
                await response.prepare(request)
                await response.write(json.dumps(content)[:40].encode())
                assert request.transport is not None
                request.transport.abort()
                return response
            case "slow":
                await asyncio.sleep(3.0)
            case "wrong json":
                return web.Response(text="<html>busy</html>")
            case "wrong id":
                content["id"] = self.id_of(0)
                content["choices"][0]["message"]["content"] = "another answer"
                return web.json_response(content)
            case "refusal":
                content["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I can't help."}
                return web.json_response(content)
            case "filter":
                content["choices"][0]["finish_reason"] = "content_filter"
                return web.json_response(content)
            case _:
                self.answered[raw] += 1
        return web.json_response(content)

    def _completion(self, body: dict[str, Any], number: int) -> dict[str, Any]:
        text = self.text(body)
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if self.has_logprobs and body.get("logprobs"):
            tokens = [
                {"token": word, "bytes": list(word.encode()), "logprob": math.log(0.5), "top_logprobs": []}
                for word in re.findall(r"\s*\S+", text)
            ]
            if tokens and body.get("top_logprobs"):
                tokens[0]["top_logprobs"] = [{"token": t, "logprob": math.log(p)} for t, p in self.first.items()]
            choice["logprobs"] = {"content": tokens}
        usage = {"prompt_tokens": TOKENS - WRITTEN, "completion_tokens": WRITTEN, "total_tokens": TOKENS}
        content = {"id": self.id_of(number), "choices": [choice]}
        return content | ({"usage": usage} if self.has_usage else {})


def _error(status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=headers)


async def _end(runner: web.AppRunner) -> None:
    await runner.cleanup()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


@contextmanager
def serving(**behaviour: Any) -> Iterator[OpenaiServer]:
    """Serve on a loopback port."""
    server, loop = OpenaiServer(**behaviour), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_end(runner), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def shown_images(body: dict[str, Any]) -> list[PillowImage.Image]:
    """The images of a request."""
    urls = [part["image_url"]["url"] for turn in body["messages"] for part in _parts(turn) if "image_url" in part]
    return [PillowImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def asked(body: dict[str, Any]) -> str:
    """The question of a request."""
    return str(_parts(body["messages"][-1])[-1]["text"])


def _parts(turn: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return turn["content"] if isinstance(turn["content"], list) else ()
