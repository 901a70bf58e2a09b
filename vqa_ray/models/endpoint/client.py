"""Requests to an endpoint: many at a time, within its limits, again after failures, never twice after an answer."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import json
import random
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import vqa_ray
from vqa_ray.errors import ErrorCode, RequestError, RowError, one_line
from vqa_ray.models.endpoint import broken_connection
from vqa_ray.models.endpoint.completion import Completion, UnusableResponseError, error_message, is_refusal, parse
from vqa_ray.models.endpoint.meter import Gate
from vqa_ray.models.endpoint.options import KEY, EndpointOptions
from vqa_ray.models.endpoint.question import Question
from vqa_ray.types import Usage

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 6
_LONGEST_BACKOFF_S = 30.0
# A server that wants a longer pause has no room today.
_LONGEST_RETRY_AFTER_S = 600.0
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_KEY_REFUSED, _NOT_PAID, _NOT_FOUND = (401, 403), 402, (404, 405)
_NO_QUOTA = "insufficient_quota"
# Answers that are remembered at least, so that a batch that is halved over one row asks nothing again.
_REMEMBERED = 4096
_FAILURE_REMEMBERED_S = 30.0
_MAX_RESPONSE_BYTES = 16 * 2**20


@dataclass(slots=True)
class _Known:
    task: asyncio.Task[Completion | RowError | RequestError]
    ended: float | None = None


class Client:
    """Asks one model at one endpoint, from an event loop in a thread of its own. Calls may come from several threads.

    Args:
        options: address and limits.
        label: who is named in an error, `model openai:NAME`.
        backoff_s: pause after the first failure; it doubles each time.
        attempts: number of tries in all of a request.

    Raises:
        RequestError: the environment lacks the key.
    """

    def __init__(self, options: EndpointOptions, label: str, backoff_s: float = 0.5, attempts: int = ATTEMPTS) -> None:
        self._attempt_limit = attempts
        self._options, self._label, self._backoff_s = options, label, backoff_s
        self._key = options.key()
        self._capacity = _REMEMBERED
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._ids: OrderedDict[str, bytes] = OrderedDict()
        self._gate: Gate = options.gate or options.meter()
        self._connections = asyncio.Semaphore(options.concurrency)
        # Fields that this server does not take.
        self._dropped: set[str] = set()
        self._refusal: RequestError | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name="vqa-ray-endpoint", daemon=True).start()
        self._end = weakref.finalize(self, _end, self._loop, self._sessions)

    def ask(self, questions: Sequence[Question]) -> list[Completion | RowError]:
        """Ask questions side by side; a question that was answered before is not asked again.

        Raises:
            RequestError: the endpoint takes no question at all: the key, the model or the address is wrong.
        """
        answers: list[Completion | RowError] = []
        for answer in asyncio.run_coroutine_threadsafe(self._all(questions), self._loop).result():
            if isinstance(answer, RequestError):
                raise RequestError(str(answer))
            answers.append(RowError(answer.code, answer.message) if isinstance(answer, RowError) else answer)
        return answers

    def close(self) -> None:
        """Close the connections and end the thread; also done when the client is no longer used."""
        self._end()

    async def _all(self, questions: Sequence[Question]) -> list[Completion | RowError | RequestError]:
        # Of two calls at a time.
        self._capacity = max(self._capacity, 2 * len(questions))
        return list(await asyncio.gather(*map(self._remembered, questions)))

    async def _remembered(self, question: Question) -> Completion | RowError | RequestError:
        digest = hashlib.blake2b(json.dumps(question.body).encode(), digest_size=16).digest()
        known = self._known.get(digest)
        if known is None or (known.ended is not None and time.monotonic() > known.ended + _FAILURE_REMEMBERED_S):
            known = self._known[digest] = _Known(asyncio.create_task(self._answer(question, digest)))
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        answer = await known.task
        if isinstance(answer, RowError) and known.ended is None:
            known.ended = time.monotonic()
        return answer

    async def _answer(self, question: Question, digest: bytes) -> Completion | RowError | RequestError:
        try:
            return await self._attempts(question, digest)
        except (RowError, RequestError) as error:
            return error

    async def _attempts(self, question: Question, digest: bytes) -> Completion:
        reason, pause = "", 0.0
        for attempt in range(self._attempt_limit):
            if attempt:
                backoff = min(self._backoff_s * 2 ** (attempt - 1), _LONGEST_BACKOFF_S) * random.uniform(0.5, 1.5)
                await asyncio.sleep(max(backoff, pause))
            async with self._connections:
                # Made before the turn of the request, which should reach the server right after it.
                session = self._session()
                number = await self._gate.admit(question.prompt_tokens, question.answer_tokens)
                if number is None:
                    raise RowError(ErrorCode.BUDGET_SPENT, "the budget of the run has no room for it")
                used: Usage | None = None
                try:
                    if self._refusal is not None:
                        raise self._refusal
                    sent = self._accepted_fields(question.body)
                    async with asyncio.timeout(self._options.timeout_s):
                        status, retry_after, data = await self._post(session, sent)
                    if status == 200:
                        completion = parse(data)
                        used = completion.usage or Usage(1, question.prompt_tokens, question.answer_tokens)
                        return self._accepted(completion, digest)
                except TimeoutError:
                    reason, pause = f"no answer within {self._options.timeout_s:g} s", 0.0
                    continue
                except UnusableResponseError as error:
                    reason, pause = str(error), 0.0
                    continue
                except OSError as error:
                    reason, pause = one_line(error), 0.0
                    continue
                finally:
                    await self._gate.settle(number, used)
            reason, pause = self._failed(sent, status, retry_after, data)
            if status == 429:
                await self._gate.pause(pause)
        raise RowError(ErrorCode.ENDPOINT_FAILED, f"{self._redacted(reason)} (attempts: {self._attempt_limit})")

    def _accepted(self, completion: Completion, digest: bytes) -> Completion:
        if completion.id is not None:
            if self._ids.setdefault(completion.id, digest) != digest:
                raise UnusableResponseError(f"the endpoint sent the answer of another request ({completion.id})")
            if len(self._ids) > _REMEMBERED:
                self._ids.popitem(last=False)
        if completion.refusal is not None:
            raise RowError(ErrorCode.ENDPOINT_REFUSED, completion.refusal)
        priced = completion.usage and self._options.budget.priced(completion.usage)
        return replace(completion, usage=priced)

    def _session(self) -> aiohttp.ClientSession:
        if not self._sessions:
            import aiohttp

            headers = {"User-Agent": f"vqa-ray/{vqa_ray.__version__}", "Content-Type": "application/json"}
            if self._key is not None:
                headers["Authorization"] = f"Bearer {self._key}"
            connector = aiohttp.TCPConnector(limit=self._options.concurrency)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0)
            self._sessions.append(
                aiohttp.ClientSession(
                    connector=connector, timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
                )
            )
        return self._sessions[0]

    async def _post(self, session: aiohttp.ClientSession, sent: Mapping[str, Any]) -> tuple[int, str | None, bytes]:
        """Return the status, Retry-After and body of a response.

        Raises:
            OSError: there is no connection, or it broke.
        """
        import aiohttp

        url = f"{self._options.base_url}/chat/completions"
        try:
            async with session.post(url, data=json.dumps(sent), allow_redirects=False) as response:
                data = bytearray()
                async for chunk in response.content.iter_chunked(2**16):
                    data += chunk
                    if len(data) > _MAX_RESPONSE_BYTES:
                        raise OSError(f"more than {_MAX_RESPONSE_BYTES} bytes")
                return response.status, response.headers.get("Retry-After"), bytes(data)
        except aiohttp.ClientError as error:
            raise OSError(broken_connection.reason(error)) from error

    def _failed(self, sent: Mapping[str, Any], status: int, retry_after: str | None, data: bytes) -> tuple[str, float]:
        """Return why an attempt failed, and the pause that the server wishes before the next.

        Raises:
            RowError: another attempt would fail likewise.
            RequestError: any other question would fail likewise.
        """
        code, message = error_message(data)
        reason = self._redacted(f"HTTP {status}: {message}" if message else f"HTTP {status}")
        where = f"{self._label}: {self._options.base_url}: "
        if status in _KEY_REFUSED:
            # Not in the server's words, which may hold the key.
            variable = self._options.key_variable
            key = f"the key in {variable} is not accepted" if variable else f"wanted a key; set {KEY}"
            self._refuse(f"{where}HTTP {status}: {key}")
        if status == _NOT_PAID or code == _NO_QUOTA:
            self._refuse(f"{where}{reason}")
        if status in _NOT_FOUND or 300 <= status < 400:
            self._refuse(
                f"{where}{reason.rstrip('.')}; wanted a model that it serves, and a --base-url such as http://localhost:8000/v1"
            )
        if status in _TRANSIENT:
            pause = _retry_after(retry_after)
            if pause > _LONGEST_RETRY_AFTER_S:
                raise RowError(ErrorCode.ENDPOINT_FAILED, f"{reason}; the endpoint wants {pause:.0f} s of pause")
            return reason, pause
        if is_refusal(code):
            raise RowError(ErrorCode.ENDPOINT_REFUSED, reason)
        if status == 400 and self._drop(sent, message):
            return reason, 0.0
        raise RowError(ErrorCode.ENDPOINT_FAILED, reason)

    def _accepted_fields(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        sent = {name: value for name, value in body.items() if name not in self._dropped}
        if "max_tokens" in self._dropped:
            sent["max_completion_tokens"] = body["max_tokens"]
        return sent

    def _drop(self, sent: Mapping[str, Any], message: str) -> bool:
        """Leave out a field that the server names in an error from now on; tell whether the request had it."""
        fields = {"max_completion_tokens": "max_tokens", "logprobs": "logprobs", "temperature": "temperature"}
        for word, name in fields.items():
            if word in message and name in sent:
                self._dropped |= {"logprobs", "top_logprobs"} if name == "logprobs" else {name}
                return True
        return False

    def _refuse(self, message: str) -> NoReturn:
        self._refusal = RequestError(one_line(message, 500))
        raise self._refusal

    def _redacted(self, text: str) -> str:
        return text if self._key is None else text.replace(self._key, "***")


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _end(loop: asyncio.AbstractEventLoop, sessions: Sequence[aiohttp.ClientSession]) -> None:
    async def end() -> None:
        for session in sessions:
            await session.close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)


def _retry_after(header: str | None) -> float:
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
        except (ValueError, OverflowError):
            return 0.0
