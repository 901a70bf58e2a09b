"""An S3 endpoint on loopback for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
import pytest
from moto.server import DomainDispatcherApplication, ThreadedMotoServer


@contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """Serve an empty bucket and point the AWS environment variables at it; yields its URI."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(variable, value)
        fsspec.filesystem("s3", endpoint_url=endpoint).mkdir(name)
        try:
            yield f"s3://{name}"
        finally:
            server.stop()


@contextmanager
def recorded_requests() -> Iterator[list[str]]:
    """Record `METHOD /path?query` of every request that reaches the endpoint, whatever process sends it."""
    found: list[str] = []
    answer: Callable[..., Any] = DomainDispatcherApplication.__call__

    def recording(application: Any, environ: dict[str, Any], start_response: Any) -> Any:
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        found.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query}")
        return answer(application, environ, start_response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", recording)
        yield found
