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
