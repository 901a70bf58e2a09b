"""The processes of an engine end with the one that started them, and no others do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

# Starts a child that bears the name of an engine's process and one of another name, a watch, and waits.
_PROGRAM = """
import subprocess, sys
from vqa_ray.models.chat.vllm_watch import EngineWatch
watch = EngineWatch()
rename = "open('/proc/self/comm', 'w').write('{}'); print('named', flush=True); import time; time.sleep(600)"
pids = []
for name in ("VLLM::Engine", "other"):
    child = subprocess.Popen([sys.executable, "-c", rename.format(name)], stdout=subprocess.PIPE)
    child.stdout.readline()
    pids.append(child.pid)
watch.engine_started()
if sys.argv[1] == "closed":
    watch.close()
print(*pids, watch._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("watched", "ended"), [("watched", True), ("closed", False)])
def test_a_killed_process_takes_its_engine_along_and_nothing_else(watched: str, ended: bool) -> None:
    program = [sys.executable, "-c", _PROGRAM, watched]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    engine, other, watch = map(int, process.stdout.readline().split())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    try:
        if ended:
            _wait(watch)
        assert _lives(engine) is not ended
        assert _lives(other)
    finally:
        for each in (engine, other):
            if _lives(each):
                os.kill(each, signal.SIGKILL)


def _wait(watch: int) -> None:
    until = time.monotonic() + 20
    while _lives(watch):
        assert time.monotonic() < until, "the watch does not end"


def _lives(process: int) -> bool:
    """Tell a process that runs from one that is gone, or that nothing has waited for."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
