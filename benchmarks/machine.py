"""On what a figure was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("torch", "transformers", "ray", "pyarrow", "pillow")


def describe() -> dict[str, str]:
    """Processor, memory, GPUs, load before the measurement, versions and revision; a short text each."""
    import torch

    described = {
        "cpu": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "gpu": ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())) or "none",
        "load_before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
    }
    return described | {name: version(name) for name in _PACKAGES} | {"revision": revision()}


def revision() -> str:
    """Return the git revision, marked where files differ from it; `unknown` outside a checkout."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        # Results and their table change with every measurement; they are not what is measured.
        changed = _git("status", "--porcelain", "--", ".", ":(exclude)docs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with changes" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def busy_s() -> float:
    """Return the seconds that all cores of the machine have worked by now, for any process (Linux)."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
