"""`python -m vqa_ray.jobs`: the command `vqa-ray`."""

from __future__ import annotations

import sys

from vqa_ray.jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
