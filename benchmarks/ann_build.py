"""`python -m benchmarks.ann_build INDEX`: the approximate index of an index, by itself, so that it can be watched."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import replace

from vqa_ray.index import version as versions
from vqa_ray.index.ann import build as ann
from vqa_ray.index.paths import IndexDirectory


def main(uri: str) -> None:
    """Build it, publish it as the next version; prints seconds and the most memory of this process as JSON."""
    layout = IndexDirectory(uri)
    base = versions.latest(layout)
    assert base is not None
    begun = time.perf_counter()
    state = ann.build(layout, base, layout.ann("benchmark"))
    duration_s = time.perf_counter() - begun
    assert versions.publish(layout, replace(base, number=base.number + 1, ann=state))
    most_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"duration_s": duration_s, "most_bytes": most_bytes}))


if __name__ == "__main__":
    main(sys.argv[1])
