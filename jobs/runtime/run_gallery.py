"""`--gallery` of the jobs that write a row per image: written when the run has ended."""

from __future__ import annotations

import logging

from vqa_ray.errors import RequestError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.report.run_gallery import write_run_gallery
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import redacted_uri

logger = logging.getLogger(__name__)


def write(job: Job) -> None:
    """Write the gallery of a run that has ended, where one is wanted.

    Raises:
        RequestError: it cannot be written; the rows of the run are.
    """
    spec, record = job.spec, job.record
    if spec.gallery is None:
        return
    parts = [entry.uri for entry in RunDirectory(spec.output).part_files()]
    about = f"{redacted_uri(str(record.model['reference']))} over {redacted_uri(spec.input)}"
    fetcher = ImageFetcher(spec.max_image_bytes, allow_http=spec.allow_http)
    try:
        shown = write_run_gallery(spec.gallery, record.job, parts, source=job.source, fetcher=fetcher, about=about)
    except store_failures() as error:
        raise RequestError(
            f"--gallery {redacted_uri(spec.gallery)}: cannot be written: {store_reason(error)}; "
            f"the rows are in {spec.output}"
        ) from error
    logger.info("  gallery of %d images → %s", shown, redacted_uri(spec.gallery))
