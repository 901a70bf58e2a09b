"""Questions and answers of an input, gathered without its images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from vqa_ray.pipelines.read_images import read
from vqa_ray.pipelines.resources import READ_CPUS, ResourcePlan
from vqa_ray.stages.read import ReadShard
from vqa_ray.training.stages.extract_labels import ExtractLabels


def collect_labels(tasks: Sequence[ReadShard], stage: ExtractLabels, resources: ResourcePlan) -> Iterator[pa.Table]:
    """Tables of `stage`, in any order."""
    rows = read(tasks, resources)
    indexed = rows.map_batches(stage, batch_size=None, batch_format="pyarrow", num_cpus=READ_CPUS)
    return iter(indexed.iter_batches(batch_size=None, batch_format="pyarrow"))
