"""The taxonomy of a finished run."""

from __future__ import annotations

from vqa_ray.errors import RequestError
from vqa_ray.runs.record import RunRecord
from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy


def recorded_taxonomy(record: RunRecord, option: str) -> Taxonomy:
    """Read the taxonomy of a run of `tag` again, from where it was.

    Args:
        record: the record of the run.
        option: the option that named the run, for the message.

    Raises:
        RequestError: it has changed since.
    """
    tags = record.command.get("tags")
    taxonomy = load_taxonomy(tags, record.command.get("encoding")) if tags else default_taxonomy()
    if taxonomy.fingerprint != record.command.get("tags_fingerprint"):
        raise RequestError(f"{option}: {tags or 'the built-in taxonomy'} has changed since")
    return taxonomy
