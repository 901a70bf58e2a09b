"""`python -m vqa_ray`: the command `vqa-ray` under another name."""

from __future__ import annotations

import sys

from jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
