"""End the processes that a local Ray leaves running when its driver is killed: agents wait minutes for its head."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

_MARK = "VQA_RAY_LOCAL_RAY"
# The reapers at work; after an error, until this process ends.
_REAPERS: list[subprocess.Popen[bytes]] = []
# A shell that waits for the end of its input, which comes when the driver is gone, however it went. The processes of
# its Ray are known by a variable in the environment that they inherited.
_SCRIPT = """
trap '' INT TERM HUP
read -r mark
while read -r line; do [ "$line" = done ] && exit 0; done
for pause in 1 2; do
  sleep $pause
  printf '%s' "$mark" | grep -laF -f - /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ number _; do
    kill -9 "$number" 2>/dev/null
  done
done
"""


@contextmanager
def no_leftovers() -> Iterator[None]:
    """Let no process that is started in the block outlive this one by more than a few seconds (Linux only)."""
    shell = shutil.which("sh")
    if sys.platform != "linux" or shell is None or shutil.which("grep") is None:
        yield
        return
    mark = uuid.uuid4().hex
    reaper = subprocess.Popen(
        [shell, "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _REAPERS.append(reaper)
    assert reaper.stdin is not None
    reaper.stdin.write(f"{_MARK}={mark}\n".encode())
    reaper.stdin.flush()
    before = os.environ.get(_MARK)
    os.environ[_MARK] = mark
    try:
        yield
        reaper.stdin.write(b"done\n")
    finally:
        # After an error, the shell looks for leftovers while this process ends.
        reaper.stdin.close()
        if before is None:
            del os.environ[_MARK]
        else:
            os.environ[_MARK] = before
    reaper.wait()
    _REAPERS.remove(reaper)
