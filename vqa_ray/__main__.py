"""`python -m vqa_ray`: the command `vqa-ray` under another name.

The command is found as its script finds it, by the entry point of the installed package: the library imports no job.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    (command,) = entry_points(group="console_scripts", name="vqa-ray")
    sys.exit(command.load()())
