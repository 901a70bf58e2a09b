"""A child process that answers one message after another, so that what kills it fails alone."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

_LENGTH_BYTES = 8
_EXIT_TIMEOUT_S = 5.0


class ChildDiedError(Exception):
    """The child died over a message, or took too long; the text says which: `took more than 5 s`."""


class ChildProcess:
    """A child process of a module whose main function calls `serve`. It starts with the first message.

    Args:
        module: that the child runs, importable in a fresh Python process.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a child, which knows the messages before."""
        return self._child is not None

    def ask(self, message: object, timeout_s: float) -> Any:
        """Return the child's reply to a message, both picklable.

        Raises:
            ChildDiedError: the child died or took longer than `timeout_s`; the next message starts another one.
        """
        child = self._child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        timed_out = threading.Event()

        def kill() -> None:
            timed_out.set()
            child.kill()

        timer = threading.Timer(timeout_s, kill)
        timer.start()
        try:
            _send(child.stdin, message)
            reply = _receive(child.stdout)
        except BrokenPipeError:
            reply = None
        finally:
            timer.cancel()
            timer.join()
        if reply is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_EXIT_TIMEOUT_S)
            self.close()
            raise ChildDiedError(f"took more than {timeout_s:g} s" if timed_out.is_set() else _ending(child.returncode))
        return reply

    def close(self) -> None:
        """End the child, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        # A worker may find its packages through sys.path alone.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", self._module]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def serve(reply: Callable[[Any], object]) -> None:
    """Run the child: send the reply to each message, never None, until the parent process closes the pipe or dies."""
    while (message := _receive(sys.stdin.buffer)) is not None:
        _send(sys.stdout.buffer, reply(message))


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
