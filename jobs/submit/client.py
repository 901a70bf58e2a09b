"""The client of a cluster's Jobs API: its address tried within seconds, every request bounded in time."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from vqa_ray.errors import RequestError, RunError, one_line
from vqa_ray.jobs.runtime.cluster.address import TOKEN_HINT, Address
from vqa_ray.storage.uri import redacted_uri

# Of pyproject.toml; older clusters lack what the library imports.
MIN_RAY = (2, 60)
_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_HEADERS = "RAY_JOB_HEADERS"
_WANTED = "wanted the Jobs API of the cluster's head, http://HOST:8265"
_CONNECT_S, _ANSWER_S = 5.0, 60.0
# They tell of each upload.
_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")


class JobsClient(JobSubmissionClient):
    """Ray's client with a time limit on each request.

    Attributes:
        url: of the Jobs API.
        verify: what `ssl` of aiohttp takes.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        # Ray prefers the variable to its argument.
        before = os.environ.get(_VARIABLES[0])
        os.environ[_VARIABLES[0]] = url
        try:
            super().__init__(url, headers=headers)
        finally:
            os.environ.pop(_VARIABLES[0])
            if before is not None:
                os.environ[_VARIABLES[0]] = before
        self.url = url

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request, with the token."""
        return dict(self._headers)

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        try:
            response = super()._do_request(method, endpoint, timeout=(_CONNECT_S, _ANSWER_S), **options)
        except AuthenticationError as error:
            # It let this command in before: a token may run out.
            raise RequestError(f"{redacted_uri(self._address)}: does not let this command in: {TOKEN_HINT}") from error
        # A proxy in front of the head answers by itself while the head is away; the head, while its store of jobs is.
        if response.status_code in (502, 503, 504) or (response.status_code == 500 and method == "GET"):
            raise requests.ConnectionError(f"{response.status_code} {response.reason}")
        return response


def connect(address: str | None) -> JobsClient:
    """Connect to the Jobs API at `address`, RAY_API_SERVER_ADDRESS or RAY_ADDRESS.

    Raises:
        RequestError: the address is none of a Jobs API, it wants a token, or its Ray is too old.
        RunError: nothing answers there now.
    """
    given = _given(address)
    url = _url(given)
    headers = _headers()
    version = _version(given, url, headers)
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < MIN_RAY:
        raise RequestError(f"{given}: the cluster runs Ray {version}; wanted {'.'.join(map(str, MIN_RAY))} or newer")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return JobsClient(url, headers)
    except (OSError, RuntimeError) as error:
        # Ray asks once more, and by itself.
        raise RunError(f"{given.option} {redacted_uri(given.text)}: the Jobs API fails: {_reason(error)}") from error


def _given(address: str | None) -> Address:
    if address:
        return Address(address)
    for variable in _VARIABLES:
        if text := os.environ.get(variable):
            return Address(text, variable)
    raise RequestError(f"--address: is required, or {' or '.join(_VARIABLES)}; {_WANTED}")


def _url(given: Address) -> str:
    text = given.text.rstrip("/")
    scheme, _, rest = text.rpartition("://")
    try:
        host = urlsplit(f"//{rest}").hostname
    except ValueError:
        # A bracket of an IPv6 address that is not closed.
        host = None
    if scheme not in ("", "http", "https") or not host or rest.endswith(":6379") or (not scheme and ":" not in rest):
        hint = "" if not host or host in ("auto", "local") else f": http://{host}:8265"
        raise RequestError(f"{given.option} {redacted_uri(given.text)}: {_WANTED}{hint if scheme == 'ray' else ''}")
    return text if scheme else f"http://{text}"


def _headers() -> dict[str, str]:
    text = os.environ.get(_HEADERS, "{}")
    try:
        headers = json.loads(text)
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise RequestError(f'{_HEADERS}: wanted a JSON object of texts, {{"NAME": "VALUE"}}')
    if not all(map(_is_sent, (*headers, *headers.values()))):
        raise RequestError(f"{_HEADERS}: holds characters that a header of HTTP cannot; wanted printable ASCII")
    return headers


def _is_sent(text: str) -> bool:
    """Whether a header of HTTP can hold a text."""
    return text.isascii() and text.isprintable()


def _version(given: Address, url: str, headers: dict[str, str]) -> str:
    """Ask for the version of Ray, which any server of the Jobs API knows."""
    shown = f"{given.option} {redacted_uri(given.text)}"
    try:
        allowed = get_auth_headers_if_auth_enabled(headers)
        if not all(map(_is_sent, allowed.values())):
            raise RequestError(
                f"{shown}: the token holds characters that a header of HTTP cannot; wanted printable ASCII"
            )
        answer = requests.get(f"{url}/api/version", headers=headers | allowed, timeout=(_CONNECT_S, 10))
    except AuthenticationError as error:
        raise RequestError(f"{shown}: no token to send: {TOKEN_HINT}") from error
    except requests.RequestException as error:
        # A head that is away may come again, which a scheduler tells by the exit code; a wrong URL stays wrong.
        kind = RequestError if isinstance(error, ValueError | requests.exceptions.SSLError) else RunError
        raise kind(f"{shown}: no Jobs API answers: {_reason(error)}; a head serves it with ray[default]") from error
    if answer.status_code in (401, 403):
        raise RequestError(f"{shown}: Ray answers, but does not let this command in: {TOKEN_HINT}")
    if answer.status_code >= 500:
        raise RunError(f"{shown}: no Jobs API answers: HTTP {answer.status_code} {answer.reason}")
    try:
        return str(answer.json()["ray_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{shown}: something else listens there (HTTP {answer.status_code}); {_WANTED}") from error


def _reason(error: BaseException) -> str:
    """Name the innermost cause of a failed request, whose own text is long."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    text = str(error)
    if "BadStatusLine" in text:
        return "something else listens there"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(certificate verify failed[^'\")]*)", text)
    return (found[1] or found[2]).lower() if found else one_line(text, 120)
