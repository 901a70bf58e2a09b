"""The Ray that a job starts or joins: what is said, and how soon, when there is none."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.cluster import address as ray_address
from vqa_ray.jobs.runtime.cluster import connect as sessions
from vqa_ray.jobs.runtime.cluster import directory as ray_directory
from vqa_ray.jobs.runtime.cluster import local as local_ray
from vqa_ray.jobs.runtime.cluster.address import Address, reachable
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.jobs.runtime.cluster.reaper import no_leftovers

_SOON_S = 20


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port where something that is no Ray listens: it answers so, or never (None)."""
    with socket.create_server(("", 0)) as server:
        kept = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


def refused(address: str) -> str:
    """The one line with which an address is refused, soon."""
    begun = time.monotonic()
    with pytest.raises(RequestError) as caught:
        reachable(Address(address))
    assert time.monotonic() - begun < _SOON_S
    line = str(caught.value)
    assert "\n" not in line
    assert "token" not in line
    assert line.startswith(f"--address {address}: ")
    return line


def test_a_port_where_nothing_listens() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    assert f"no Ray answers at 127.0.0.1:{port}: connection refused" in refused(f"127.0.0.1:{port}")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR\r\n", b"", None])
def test_a_port_where_something_else_listens(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "_CONNECT_S", 0.5)
    with listening(answer) as port:
        assert f"no Ray answers at 127.0.0.1:{port}: something else listens there" in refused(f"127.0.0.1:{port}")


def test_a_web_server_is_no_ray() -> None:
    with http.server.HTTPServer(("", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert "something else listens there" in refused(f"127.0.0.1:{server.server_port}")
        thread.join()


def test_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "_CONNECT_S", 0.2)
    monkeypatch.setattr(socket, "create_connection", lambda *_: time.sleep(2))
    assert "no Ray answers at 127.0.0.1:6379: no answer within" in refused("127.0.0.1:6379")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nohost.invalid:6379", "no such host"),
        ("garbage", "wanted host:port of the cluster's head (6379), auto or local"),
        ("head:99999", "wanted host:port"),
        ("http://head:8265", "http://… is for `vqa-ray submit`"),
        ("s3://bucket", "wanted host:port"),
        (
            "ray://nohost.invalid:10001",
            "--address nohost.invalid:6379; from elsewhere: vqa-ray submit --address http://",
        ),
        ("ray://head", "wanted host:port"),
    ],
)
def test_addresses_that_are_none(address: str, reason: str) -> None:
    assert reason in refused(address)


def test_the_token_of_a_cluster_is_named_where_it_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ray.exceptions.AuthenticationError("token missing")

    monkeypatch.setattr(ray_address, "_speaks_grpc", lambda *_: None)
    monkeypatch.setattr("ray._raylet.GcsClient", refuse)
    with pytest.raises(RequestError, match="does not let this driver in: it wants a token: set RAY_AUTH_MODE=token"):
        reachable(Address("127.0.0.1:6379", "RAY_ADDRESS"))


@pytest.mark.parametrize(("given", "is_asked_for"), [("auto", True), ("127.0.0.1:6379", False)])
def test_the_ray_of_this_machine_gets_its_token(
    given: str, is_asked_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    setup = "ray._private.authentication.authentication_token_setup"
    monkeypatch.setattr(f"{setup}.maybe_enable_token_auth_if_token_available", lambda **_: asked.append(True))
    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", lambda _: "127.0.0.1:6379")
    monkeypatch.setattr("ray._raylet.GcsClient", lambda address: asked.append(False))
    monkeypatch.setattr(ray_address, "_speaks_grpc", lambda *_: None)
    assert reachable(Address(given)) == "127.0.0.1:6379"
    # Before Ray is asked anything.
    assert asked == ([True, False] if is_asked_for else [False])


def test_versions_that_differ_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        try:
            raise RuntimeError(
                "Version mismatch: The cluster was started with:\n    Ray: 2.55.0\n    Python: 3.12.1\n"
                "This process on node 127.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
            )
        except RuntimeError as error:
            raise ConnectionError("Failed to connect to Ray cluster") from error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(sessions, "reachable", str)
    monkeypatch.setattr(ray, "init", refuse)
    told = "the cluster runs Ray 2.55.0, Python 3.12.1, this process Ray 2.60.0, Python 3.11.7"
    with pytest.raises(RequestError, match=told), connect_ray("head:6379"):
        pass


def test_a_ray_that_starts_slowly_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def slow(**_: object) -> None:
        tries.append(1)
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(local_ray, "start", slow)
    with (
        pytest.raises(RequestError, match="no local Ray could be started: The current node timed out"),
        connect_ray("local"),
    ):
        pass
    assert len(tries) == 2
    assert "trying once more" in caplog.text


def test_a_long_directory_is_replaced_by_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    short = tmp_path / "s"
    monkeypatch.setattr(ray_directory, "_SOCKET_BYTES", len(os.fsencode(short)) + 4 + 66)
    monkeypatch.setattr(ray_directory, "_OTHERS", (str(short),))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "slurm_job_4711"))
    assert ray_directory.ray_directory() == short / "ray"
    assert f"TMPDIR={tmp_path}/slurm_job_4711: its path is" in caplog.text


def test_a_directory_that_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(ray_directory, "_SOCKET_BYTES", 1000)
    monkeypatch.setattr(ray_directory, "_OTHERS", ())
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with pytest.raises(RequestError, match=r"no directory for a local Ray: RAY_TMPDIR=.*/file: not a directory"):
        ray_directory.ray_directory()


def test_a_full_directory_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_directory, "_SOCKET_BYTES", 1000)
    monkeypatch.setattr(ray_directory, "_MIN_FREE_BYTES", 10**18)
    monkeypatch.setattr(ray_directory, "_OTHERS", ())
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(RequestError, match="MB are free"):
        ray_directory.ray_directory()


def test_little_shared_memory_moves_the_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        free = 64 * 10**6

    monkeypatch.setattr(sessions.shutil, "disk_usage", lambda _: Little)
    stored, place = sessions._store(tmp_path)
    assert stored >= 128 * 2**20
    assert place == str(tmp_path)


def test_what_a_killed_driver_leaves_running_is_ended() -> None:
    code = (
        "import subprocess, sys, time\n"
        "from vqa_ray.jobs.runtime.cluster.reaper import no_leftovers\n"
        "with no_leftovers():\n"
        "    left = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "    print(left.pid, flush=True)\n"
        "    time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        left = int(driver.stdout.readline())
        driver.kill()
    deadline = time.monotonic() + 30
    while _runs(left):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nothing_is_left_of_the_reaper_itself() -> None:
    before = dict(os.environ)
    with no_leftovers():
        assert os.environ != before
    assert os.environ == before


def _runs(number: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
