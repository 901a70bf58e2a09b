"""A stop request is heard whatever handlers a library installs meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Ray's core, while a driver connects, sets a handler that ends the process at once.
CODE = """
import contextlib, ctypes, os, signal, time
from vqa_ray.jobs.runtime.signals import STOP
STOP.install()
try:
    with STOP.kept() if {kept} else contextlib.nullcontext():
        ctypes.CDLL(None).signal(signal.SIGTERM, None)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except KeyboardInterrupt:
    print("unwound")
"""


@pytest.mark.parametrize(("kept", "code", "said"), [(True, 0, "unwound\n"), (False, -signal.SIGTERM, "")])
def test_handlers_are_kept_while_a_library_installs_its_own(kept: bool, code: int, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(kept=kept)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (code, said), ended.stderr


# A library that swallows the interrupt, below a command whose standard error nobody reads.
DEAF = """
import os, signal, sys, time
from vqa_ray.jobs.runtime import signals
signals._GRACE_S = 0.2
signals.STOP.install()
if {full}:
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(2, True)
ready = False
while True:
    try:
        if not ready:
            ready = True
            print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize("full", [True, False])
def test_a_command_ends_though_its_last_words_cannot_be_written(full: bool) -> None:
    command = [sys.executable, "-c", DEAF.format(full=full)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        if not full:
            process.stderr.close()
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=60) == 128 + signal.SIGTERM
        finally:
            process.kill()
