"""`--gallery` of the jobs that write a row per image: checked before any work, written when the run has ended."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from vqa_ray.errors import RequestError, one_line
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.report.run_gallery import write_run_gallery
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.filesystem import fsspec_for, redacted_uri

logger = logging.getLogger(__name__)

_ENDINGS = (".html", ".htm")


def check(spec: RunSpec) -> None:
    """Refuse a gallery that cannot be written.

    Raises:
        RequestError: it is no HTML file, its directory cannot be written, or Jinja2 is not installed.
    """
    if spec.gallery is None:
        return
    if not spec.gallery.lower().endswith(_ENDINGS):
        raise RequestError(f"--gallery {spec.gallery}: wanted a file named *{' or *'.join(_ENDINGS)}")
    if find_spec("jinja2") is None:
        raise RequestError("--gallery: needs Jinja2, which is not installed: pip install 'vqa-ray[report]'")
    filesystem, path = fsspec_for(spec.gallery)
    if isinstance(filesystem, LocalFileSystem):
        file = Path(path)
        if file.is_dir():
            raise RequestError(f"--gallery {spec.gallery}: is a directory; wanted a file")
        above = next(each for each in file.parents if each.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise RequestError(f"--gallery {spec.gallery}: cannot be written: {above} is not a directory to write to")


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
    except OSError as error:
        raise RequestError(
            f"--gallery {redacted_uri(spec.gallery)}: cannot be written: {one_line(error)}; "
            f"the rows are in {spec.output}"
        ) from error
    logger.info("  gallery of %d images → %s", shown, redacted_uri(spec.gallery))
