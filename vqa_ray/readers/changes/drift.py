"""Changes of an input since a run began with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from vqa_ray.errors import one_line
from vqa_ray.storage.filesystem import FileEntry

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file with other contents than when the run began.

    Attributes:
        name: below the root.
        was, now: its size, time and etag.
    """

    name: str
    was: FileEntry
    now: FileEntry

    def __str__(self) -> str:
        """Return the sizes, or the times where the sizes are the same."""
        if self.was.size_bytes != self.now.size_bytes:
            return f"{self.name}: {self.was.size_bytes:,} → {self.now.size_bytes:,} bytes"
        return f"{self.name}: written {_time(self.was.modified)} → {_time(self.now.modified)}"


@dataclass(frozen=True, slots=True)
class Drift:
    """The difference between an input and what a run began with: names below the root, in order.

    Attributes:
        added: files that came later.
        changed: files with other contents.
        grown: text files to which lines were added at the end; all others stand where they stood.
        touched: files with a new time, the same size and, where that was looked at, the same contents.
        gone: files that are not there any more.
        taken_in: files that came later and are read now, on request.
    """

    added: tuple[str, ...] = ()
    changed: tuple[ChangedFile, ...] = ()
    grown: tuple[ChangedFile, ...] = ()
    touched: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    taken_in: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.added, self.changed, self.grown, self.touched, self.gone, self.taken_in))

    def __str__(self) -> str:
        """All of it in one line."""
        added = (*self.added, *self.taken_in)
        parts = [
            _counted(len(added), "was added", "were added") + named(added),
            f"{len(self.changed)} changed{named([str(each) for each in self.changed])}",
            f"{len(self.gone)} gone{named(self.gone)}",
        ]
        if self.grown:
            parts.append(f"{len(self.grown)} grown at the end{named([str(each) for each in self.grown])}")
        if self.touched:
            was = "has" if len(self.touched) == 1 else "have"
            parts.append(f"{len(self.touched)} {was} a new time but the same size{named(self.touched)}")
        return "since the run began, " + ", ".join(parts)


def named(names: Sequence[str]) -> str:
    """Return a few of many names in brackets; nothing for none."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" ({', '.join(one_line(name, 160) for name in names[:_SHOWN])}{more})"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} file {one}" if count == 1 else f"{count} files {several}"


def _time(at: datetime | None) -> str:
    return "at an unknown time" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")
