"""`vqa-ray publish`: the rows of a finished run in a table of Iceberg, Delta, Lance or Parquet."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.spec.tools import PublishSpec
from vqa_ray.publish import delta, iceberg, lance, parquet
from vqa_ray.publish.publication import open_publication
from vqa_ray.publish.target import parse_target
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.storage.lake_storage import patiently
from vqa_ray.storage.store_errors import store_failures, store_reason

logger = logging.getLogger(__name__)

_PUBLISHERS = {
    "iceberg": iceberg.publish,
    "delta": delta.publish,
    "lance": lance.publish,
    "parquet": parquet.publish,
}


def run(spec: PublishSpec) -> None:
    """Commit the rows of the run to the table, unless the table has them."""
    target = parse_target(spec.to)
    if spec.by and spec.mode == "append":
        raise RequestError("--by: --mode append adds all rows, whatever their keys; leave one of the two out")
    if target.kind != "iceberg":
        refuse_inside_output("--to", target.address, itself=True)
    opened = partial(open_publication, spec.run, merges=spec.mode == "merge", by=spec.by)
    opened()
    try:
        # The run stays as it is meanwhile, and of two commands one publishes.
        with output_lock(spec.run, datetime.now(UTC).isoformat(timespec="seconds")):
            # An update may have been published between the check and the lock.
            publication = opened()
            # What was committed although its answer was lost is known again.
            done = patiently(lambda: _PUBLISHERS[target.kind](target, publication), f"--to {target}", target.address)
    except store_failures() as error:
        raise RequestError(f"--to {target}: cannot be read or written: {store_reason(error, named=True)}") from error
    if done.known:
        logger.info("%s: has the rows of %s in this state already (%s)", target, spec.run, done.version)
    else:
        logger.info("%s of %s → %s, %s", counted(done.rows, "row"), spec.run, target, done.version)
