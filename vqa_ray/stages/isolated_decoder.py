"""Decode images in a child process, so that an image that kills its decoder fails alone.

The child takes about a second to start, so it serves only batches over which a worker has died before.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.sized import SizedImage, decode_sized
from vqa_ray.process import prepare_for_decoding
from vqa_ray.types import ImageTransform

_LENGTH_BYTES = 8
_EXIT_TIMEOUT_S = 5.0


class IsolatedDecoder:
    """A child process that decodes one image after another; a new one starts when it dies.

    Args:
        transform: gives the model's image size; importable in a fresh Python process.
        limits: of an image.
        fast: decode JPEG at a fraction of its size.
        timeout_s: a decoder that takes longer counts as crashed.
    """

    def __init__(self, transform: ImageTransform, limits: ImageLimits, fast: bool, timeout_s: float = 120.0) -> None:
        self._settings = (transform, limits, fast)
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> SizedImage:
        """Decode an image, see `decode_sized`.

        Raises:
            RowError: as there; `row_crashed` when the child process died or took longer than `timeout_s`.
        """
        child = self._child = self._child or self._start()
        timed_out = threading.Event()

        def kill() -> None:
            timed_out.set()
            child.kill()

        timer = threading.Timer(self._timeout_s, kill)
        timer.start()
        try:
            outcome = self._ask(child, data)
        finally:
            timer.cancel()
            timer.join()
        if outcome is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_EXIT_TIMEOUT_S)
            self.close()
            reason = f"took more than {self._timeout_s:g} s" if timed_out.is_set() else _ending(child.returncode)
            raise RowError(ErrorCode.ROW_CRASHED, f"decoding the image {reason}")
        if isinstance(outcome, BaseException):
            raise outcome
        image: SizedImage = outcome
        return image

    def close(self) -> None:
        """End the child process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "vqa_ray.stages.isolated_decoder"]
        # A worker may find its packages through sys.path alone.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def _ask(self, child: subprocess.Popen[bytes], data: bytes) -> Any:
        """Return the child's image or exception; None when it died."""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            _send(child.stdin, (*self._settings, data))
        except BrokenPipeError:
            return None
        return _receive(child.stdout)


def _ending(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"killed its process (signal {-returncode})"
    return f"ended its process (exit status {returncode})"


def _send(stream: IO[bytes], message: object) -> None:
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(_LENGTH_BYTES))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """Return one message; None at the end of the stream."""
    size = stream.read(_LENGTH_BYTES)
    if len(size) < _LENGTH_BYTES:
        return None
    data = stream.read(int.from_bytes(size))
    return pickle.loads(data) if len(data) == int.from_bytes(size) else None


def main() -> None:
    """Run the child: answer each (transform, limits, fast, data) on stdin with an image or an exception on stdout."""
    prepare_for_decoding()
    while (request := _receive(sys.stdin.buffer)) is not None:
        transform, limits, fast, data = request
        outcome: SizedImage | Exception
        try:
            outcome = decode_sized(data, limits, transform, fast=fast)
        except Exception as error:  # noqa: BLE001  The parent process raises it again.
            outcome = error
        _send(sys.stdout.buffer, outcome)


if __name__ == "__main__":
    main()
