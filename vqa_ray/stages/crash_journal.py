"""Notes on the local disk about batches under way: a leftover note shows that a process died over its batch."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


class CrashJournal:
    """The batches of a run that were begun on this machine and not ended: one empty file each.

    An exception ends a batch as success does; only the death of the process (a crash in a C decoder, the out-of-memory
    killer, `kill -9`) leaves the file behind.

    Args:
        run_id: names the run.
        directory: of the notes; by default one of this user in the system's temporary directory.
    """

    def __init__(self, run_id: str, directory: Path | None = None) -> None:
        self._prefix = _UNSAFE.sub("_", run_id) or "run"
        self._directory = directory or Path(tempfile.gettempdir()) / f"vqa-ray-decoding-{os.getuid()}"

    @contextmanager
    def batch(self, first_key: int) -> Iterator[bool]:
        """Note a batch while it is under way.

        Args:
            first_key: the `source_key` of its first row, the same when Ray repeats the task.

        Yields:
            True if an earlier process died over this batch.
        """
        note = self._directory / f"{self._prefix}-{first_key}"
        try:
            note.touch(exist_ok=False)
            died_before = False
        except FileExistsError:
            died_before = True
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.touch()
            died_before = False
        try:
            yield died_before
        finally:
            note.unlink(missing_ok=True)
