"""The publication of an update: all of its files are put in place, or none is.

The files are prepared in the private directory of the attempt; then a journal that names them is written at once. From
that moment the run is the one after the update: our readers take the prepared files in the places of the others, and
whoever writes next finishes what a dead process left. Other readers see one file after the other replaced, and no row
twice or not at all.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vqa_ray.errors import RequestError, one_line
from vqa_ray.runs.private_names import PRIVATE_SUFFIX
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete, delete_directory
from vqa_ray.storage.filesystem import FileEntry, read_bytes
from vqa_ray.storage.uri import join, name_of

FORMAT = 1
# The directory of the prepared files, in that of the attempt.
PREPARED = "_prepared"
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Publication:
    """The files of an update.

    Attributes:
        attempt: the directory of the attempt, relative to the output.
        files: (target, prepared file) by their paths below the output.
    """

    attempt: str
    files: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, uri: str) -> Publication | None:
        """Return the journal at `uri`; None where no update is being published.

        Raises:
            RequestError: it is of another format, or damaged.
        """
        try:
            content = json.loads(read_bytes(uri))
            if content["format"] != FORMAT:
                raise RequestError(f"{uri}: format {content['format']!r} of another version; this one reads {FORMAT}")
            return cls(content["attempt"], tuple((target, prepared) for target, prepared in content["files"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"{uri}: is damaged: {one_line(error)}; it names the files of an update that was being published"
            ) from error

    def commit(self, uri: str) -> None:
        """Write the journal: from here on, the update holds."""
        content = {"format": FORMAT, "attempt": self.attempt, "files": self.files}
        write_bytes_atomic(uri, json.dumps(content, indent=1).encode())

    def apply(self, output: str) -> None:
        """Put the files in place; doing it again after a death in the middle changes nothing."""

        def place(pair: Sequence[str]) -> None:
            target, prepared = pair
            write_bytes_atomic(join(output, target), read_bytes(join(output, prepared)))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            deque(pool.map(place, self.files), maxlen=0)

    def close(self, uri: str, output: str) -> None:
        """Delete the journal, and the attempt with the prepared files."""
        delete(uri)
        delete_directory(join(output, self.attempt))

    def seen(self, output: str, found: Sequence[FileEntry]) -> list[FileEntry]:
        """Return the files of rows as they are after the publication.

        Args:
            output: the run directory.
            found: the files of rows that lie there.
        """
        entries = {name_of(entry.uri): entry for entry in found}
        for target, prepared in self.files:
            if "/" not in target and prepared.endswith(PRIVATE_SUFFIX):
                entries[target] = FileEntry(join(output, prepared), 0, None)
        return [entries[name] for name in sorted(entries)]
