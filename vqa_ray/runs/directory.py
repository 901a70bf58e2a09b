"""The names of everything in a run directory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vqa_ray.errors import RequestError
from vqa_ray.runs.private_names import PRIVATE_SUFFIX
from vqa_ray.runs.publication import PREPARED, Publication
from vqa_ray.storage.filesystem import FileEntry, exists, fsspec_for, list_files
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import join, name_of

PART_PREFIX = "part-"
PART_SUFFIX = ".parquet"
PRIVATE = "_vqa_ray"
# Within it: the request of a run, and the directory of the versions of an index.
RECORD, VERSIONS = "run.json", "versions"
# Names that Spark, pandas and pyarrow pass over when they read the directory: a README.md would end their reading.
CARD = "_README.md"
FOR_DATASETS = ".huggingface.yaml"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A run directory: `part-*.parquet` with the rows, and `_vqa_ray/` with everything else.

    Attributes:
        output: its URI.
        attempt: 1 for the run itself; later ones retry failed rows and write below `_vqa_ray/attempt-N/`.
        is_update: whether it is an update of an index, whose rows are not yet those of the index.
    """

    output: str
    attempt: int = 1
    is_update: bool = False

    @property
    def has_private_parts(self) -> bool:
        """Whether part files end in `.pq` when they are written: no reader's `**/*.parquet` is to match them."""
        return self.is_update or self.attempt > 1

    @property
    def parts(self) -> str:
        """The directory of the rows."""
        if self.attempt == 1:
            return self.output
        return join(self.output, PRIVATE, f"attempt-{self.attempt}")

    @property
    def checkpoint(self) -> str:
        """Ray Data's list of the rows written: a directory per process, in it a file per write task."""
        if self.attempt == 1:
            return join(self.output, PRIVATE, "checkpoint")
        # The underscore keeps its files out of the listing of the parts.
        return join(self.parts, "_checkpoint")

    @property
    def record(self) -> str:
        """The request, written before any work."""
        return join(self.output, PRIVATE, RECORD) if self.attempt == 1 else join(self.parts, RECORD)

    def listing(self, name: str = "input") -> str:
        """Return the path of the input's files as the run or the update found them (`readers.changes.snapshot`)."""
        folder = join(self.output, PRIVATE) if self.attempt == 1 else self.parts
        return join(folder, f"{name}-listing.arrow.zst")

    @property
    def keys(self) -> str:
        """The source_keys that a later attempt answers again."""
        return join(self.parts, "keys.bin")

    @property
    def manifest(self) -> str:
        """The outcome, written last."""
        return join(self.output, PRIVATE, "manifest.json")

    @property
    def progress(self) -> str:
        """The state of the process that writes, or wrote last; see `vqa_ray.runs.progress`."""
        return join(self.output, PRIVATE, "progress.json")

    @property
    def publication(self) -> str:
        """The files that an update is about to replace; there only while it does (`runs.publication`)."""
        return join(self.output, PRIVATE, "publication.json")

    @property
    def prepared(self) -> str:
        """The directory of the files that an update of this attempt is going to put in place."""
        return join(self.parts, PREPARED)

    @property
    def usage(self) -> str:
        """What all attempts have taken of an endpoint; see `vqa_ray.runs.ledger`."""
        return join(self.output, PRIVATE, "usage.json")

    def later(self, attempt: int) -> RunDirectory:
        """Return the same run directory, for a later attempt."""
        return replace(self, attempt=attempt)

    def part_files(self) -> list[FileEntry]:
        """Return the files with the rows, sorted by name; during the publication of an update, its files."""
        found = [entry for entry in self._files(self.parts) if _is_part(entry.uri)]
        pending = None if self.has_private_parts or not found else Publication.read(self.publication)
        return found if pending is None else pending.seen(self.output, found)

    def checkpoint_files(self) -> list[FileEntry]:
        """Return the files of the checkpoint, pending ones too."""
        return self._files(self.checkpoint)

    def foreign_files(self) -> list[FileEntry]:
        """Files of the output that no run has written."""
        return [entry for entry in self._files(self.output) if not _is_part(entry.uri)]

    @staticmethod
    def _files(uri: str) -> list[FileEntry]:
        try:
            return list_files(uri) if exists(uri) else []
        except NotADirectoryError as error:
            raise RequestError(f"output {uri}: a part of the path is a file, not a directory") from error


def require_directory(label: str, uri: str, wanted: str) -> None:
    """Refuse a path where no directory is.

    Args:
        label: the path, after its option if it has one.
        uri: the path.
        wanted: what the directory should hold.

    Raises:
        RequestError: nothing or a file is there, or the store does not answer.
    """
    filesystem, path = fsspec_for(uri)
    try:
        if filesystem.isdir(path):
            return
        found = "is a file" if filesystem.exists(path) else "no such directory or prefix"
    except store_failures() as error:
        raise RequestError(f"{label}: cannot be read: {store_reason(error, named=True)}") from error
    raise RequestError(f"{label}: {found}; expected {wanted}")


def _is_part(uri: str) -> bool:
    name = name_of(uri)
    return name.startswith(PART_PREFIX) and name.endswith((PART_SUFFIX, PRIVATE_SUFFIX))
