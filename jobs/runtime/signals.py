"""SIGTERM, SIGHUP and Ctrl-C: unwind the command wherever it is, or end it by force where it does not unwind.

Python runs a signal's handler between two bytecodes of the main thread, so a command that waits inside native code
(Ray's client retries for minutes) would not notice. The C half of the handler, however, also writes to a descriptor at
once: a thread reads it, gives the main thread some seconds to unwind (locks are released, the local Ray is stopped),
and then ends the process. A second Ctrl-C ends it immediately. What is left behind is what a kill leaves, which the
same command resumes from.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import NoReturn, Protocol

from vqa_ray.jobs.runtime import logs

# Less than what docker stop (10 s), Kubernetes and Slurm (30 s) wait until they kill.
_GRACE_S = 8.0
# `timeout` and terminals may deliver one request twice.
_REPEAT_S = 0.5
_TELL_S = 1.0
_KEEP_S = 0.01
# More than the structure of any C library.
_SIGACTION_BYTES = 512
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def describe(number: int) -> str:
    """Name a signal for a person."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


class Lock(Protocol):
    """The lock of an output, which interrupts this process by a signal when it is lost."""

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken over."""


class StopSignals:
    """The stop requests of this process.

    Attributes:
        received: the first signal, None before.
        lock: of the output that is being written.
        describe_end: signal → the line to print and the exit code when the process is ended by force.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.lock: Lock | None = None
        self.describe_end: Callable[[int], tuple[str, int]] = lambda number: (describe(number), 128 + number)
        self._raised = False
        self._at = 0.0
        self._installed = False
        self._waiting = False

    def install(self) -> None:
        """Take the signals over. In the main thread of a process that is ours alone."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._installed = True
        self.reinstall()
        threading.Thread(target=self._watch, args=(reader,), name="signals", daemon=True).start()

    def reinstall(self) -> None:
        """Take the signals over again: Ray's core installs handlers of its own when a driver connects."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            # A command under nohup outlives its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._raise)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the handlers while Ray's core starts or ends and installs others, which end the process at once."""
        if not self._installed:
            yield
            return
        libc, ended = ctypes.CDLL(None), threading.Event()
        handlers = {number: ctypes.create_string_buffer(_SIGACTION_BYTES) for number in _SIGNALS}
        for number, handler in handlers.items():
            libc.sigaction(number, None, handler)

        def keep() -> None:
            while not ended.wait(_KEEP_S):
                for number, handler in handlers.items():
                    libc.sigaction(number, handler, None)

        # Python sets handlers in the main thread alone, which waits for Ray.
        thread = threading.Thread(target=keep, name="handlers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.reinstall()

    @property
    def has_lost_output(self) -> bool:
        """Whether the signal came because another process has taken over the output."""
        return self.lock is not None and self.lock.is_lost

    def _raise(self, number: int, _frame: FrameType | None) -> None:
        self._note(number)
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _note(self, number: int) -> bool:
        """Record a signal; give whether it is a second one."""
        if self.received is None:
            self.received, self._at = number, time.monotonic()
            return False
        return time.monotonic() - self._at > _REPEAT_S

    def _watch(self, reader: int) -> None:
        while True:
            for number in os.read(reader, 64):
                if number not in _SIGNALS:
                    continue
                if self._note(number):
                    self._end()
                if not self._waiting:
                    self._waiting = True
                    threading.Timer(_GRACE_S, self._end).start()

    def _end(self) -> NoReturn:
        assert self.received is not None
        line, code = self.describe_end(self.received)
        # Whoever reads standard error may have gone, or not read for hours.
        tell = partial(print, line, file=logs.console(), flush=True)
        teller = threading.Thread(target=tell, name="last words", daemon=True)
        teller.start()
        teller.join(_TELL_S)
        os._exit(code)


STOP = StopSignals()


def leave(code: int) -> NoReturn:
    """End the process with `code` once its buffers and exit functions are done, without tearing the interpreter down.

    Native threads that still start up (Arrow's pools after a first small read, Ray's client) abort a process whose
    static objects are destroyed meanwhile ("terminate called without an active exception", exit code 134).
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # The reader of a pipe may have gone, and the stream with it.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
