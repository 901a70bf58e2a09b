"""What an object store refuses, in words, for inputs, outputs and models."""

from __future__ import annotations

import gc
import http.server
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vqa_ray.api.run import read_run
from vqa_ray.browse.dataset import open_collection
from vqa_ray.calibration.file import Calibration
from vqa_ray.calibration.samples import Labels
from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.readers.changes.recorded_input import earlier_run
from vqa_ray.storage.store_errors import store_reason
from vqa_ray.taxonomy.file import load_taxonomy
from vqa_ray.training.data.vocabulary import read_vocabulary

# Bucket → status, code, message.
_REFUSALS = {
    "denied": (403, "AccessDenied", "Access Denied"),
    "badkey": (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    "moved": (301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint."),
    "elsewhere": (400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'"),
    "lost": (301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint."),
    "absent": (404, "NoSuchBucket", "The specified bucket does not exist"),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
}
_ADVICE = {
    "denied": "need s3:ListBucket, s3:GetObject",
    "badkey": "check or renew the credentials",
    "moved": "the bucket is in another region: set AWS_DEFAULT_REGION to it (eu-west-1)",
    "lost": "the bucket is in another region: set AWS_DEFAULT_REGION to it",
    "absent": "no such bucket",
    "elsewhere": "the bucket is in another region: set AWS_DEFAULT_REGION to it (eu-west-1)",
    "expired": "check or renew the credentials",
}


_SMALL_FILES: dict[str, Callable[[str], object]] = {
    "taxonomy": load_taxonomy,
    "calibration": Calibration.read,
    "vocabulary": read_vocabulary,
    "labels": Labels.read,
    "rows": open_collection,
    "run": read_run,
}


class _Refusing(http.server.BaseHTTPRequestHandler):
    """An S3 endpoint that refuses everything."""

    def _refuse(self) -> None:
        bucket = self.path.strip("/").partition("/")[0].partition("?")[0]
        status, code, message = _REFUSALS[bucket]
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        if bucket == "moved":
            self.send_header("x-amz-bucket-region", "eu-west-1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = _refuse

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of an endpoint that refuses."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("bucket", [bucket for bucket in _REFUSALS if bucket != "lost"])
def test_a_refused_input(endpoint: None, bucket: str) -> None:
    text = "the input cannot be read" if bucket != "absent" else "no such bucket s3://absent: check its name and"
    _check(bucket, text, lambda uri: open_source(InputConfig(uri=uri)))


@pytest.mark.parametrize("bucket", ["denied", "moved"])
def test_a_refused_output(endpoint: None, bucket: str) -> None:
    _check(bucket, "cannot be read", earlier_run)


@pytest.mark.parametrize("bucket", ["denied", "moved"])
def test_a_refused_model(endpoint: None, bucket: str) -> None:
    _check(bucket, "cannot be listed", Checkpoint.open)


def test_a_redirect_without_a_region(endpoint: None) -> None:
    # botocore follows it until the stack is full, which leaves sockets behind.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _check("lost", "the input cannot be read", lambda uri: open_source(InputConfig(uri=uri)))
        _check("lost", "cannot be read", earlier_run)
        gc.collect()


@pytest.mark.parametrize("bucket", ["denied", "moved"])
@pytest.mark.parametrize("what", list(_SMALL_FILES))
def test_a_refused_small_file(endpoint: None, bucket: str, what: str) -> None:
    _check(bucket, "cannot be read" if what != "labels" else "--labels", _SMALL_FILES[what])


def test_a_recursion_of_our_own_is_no_refusal() -> None:
    assert store_reason(RecursionError("maximum recursion depth exceeded")) == "maximum recursion depth exceeded"


def test_missing_credentials(endpoint: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for call in (lambda uri: open_source(InputConfig(uri=uri)), earlier_run, Checkpoint.open):
        with pytest.raises(RequestError, match="Unable to locate credentials: set AWS_ACCESS_KEY_ID and"):
            call("s3://denied/x")


def test_a_local_error_gets_no_advice_of_a_store() -> None:
    error = PermissionError(13, "Permission denied", "/x/y")
    assert store_reason(error) == "Permission denied"
    assert store_reason(error, named=True) == "[Errno 13] Permission denied: '/x/y'"


def _check(bucket: str, text: str, call: object) -> None:
    with pytest.raises(RequestError) as caught:
        call(f"s3://{bucket}/x")  # type: ignore[operator]
    line = str(caught.value)
    assert "\n" not in line
    assert f"s3://{bucket}/x" in line
    assert text in line
    assert _ADVICE[bucket] in line
