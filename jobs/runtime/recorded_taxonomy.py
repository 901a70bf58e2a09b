"""The taxonomy of a finished run."""

from __future__ import annotations

from pathlib import PurePath

from vqa_ray.errors import RequestError
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.uri import SCHEME
from vqa_ray.taxonomy.file import default_taxonomy, load_taxonomy
from vqa_ray.taxonomy.taxonomy import Taxonomy


def recorded_taxonomy(record: RunRecord, option: str) -> Taxonomy:
    """Read the taxonomy of a run of `tag` again, from where it was.

    Args:
        record: the record of the run.
        option: the option that named the run, for the message.

    Raises:
        RequestError: it has changed since, or is not there.
    """
    tags = record.command.get("tags")
    try:
        taxonomy = load_taxonomy(tags, record.command.get("encoding")) if tags else default_taxonomy()
    except RequestError as error:
        if tags is None or SCHEME.match(tags) or PurePath(tags).is_absolute():
            raise
        # A submitted run had it in a directory of its job.
        raise RequestError(
            f"{option}: the run names its taxonomy by a relative path, which leads to nothing here: {error}; call this "
            "command in the directory of the file, without submit"
        ) from error
    if taxonomy.fingerprint != record.command.get("tags_fingerprint"):
        raise RequestError(f"{option}: {tags or 'the built-in taxonomy'} has changed since")
    return taxonomy
