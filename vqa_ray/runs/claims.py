"""The claims of the writers of an output, and the right to write that follows from them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from vqa_ray.errors import OutputTakenOverError, RequestError
from vqa_ray.runs.directory import PRIVATE
from vqa_ray.storage.filesystem import exists, list_files, read_bytes
from vqa_ray.storage.uri import join, name_of


@dataclass(frozen=True, slots=True)
class LockRecord:
    """The claim of a writer.

    Attributes:
        token: its own; begins with the start of its process, in clock ticks since the machine started.
        host, pid: where it runs; `host` differs after a restart of the machine and in another container.
        started: UTC, ISO 8601.
        beat: counted up while it works.
        released: whether it is done.
    """

    token: str
    host: str
    pid: int
    started: str
    beat: int = 0
    released: bool = False

    @property
    def process_start(self) -> int | None:
        """When its process started, see `token`; None where that is unknown."""
        start = self.token.partition("-")[0]
        return int(start) if "-" in self.token and start.isdigit() else None


@dataclass(frozen=True, slots=True)
class Fence:
    """One writer's right to write, small enough to travel to every worker.

    Attributes:
        output: the directory that is written.
        number, token: of the writer.
    """

    output: str
    number: int
    token: str

    def holds(self) -> bool:
        """Check whether it is still the writer."""
        numbers = writer_numbers(self.output)
        if not numbers or numbers[-1] != self.number:
            return False
        # On a store without exclusive creation, two writers can have made the same number: the last one counts.
        claim = read_claim(self.output, self.number)
        return claim is not None and claim.token == self.token

    def check(self) -> None:
        """Refuse to go on where another writer has taken over: before anything is deleted, committed or published.

        Raises:
            OutputTakenOverError: it has.
        """
        if not self.holds():
            raise self.taken_over()

    def taken_over(self) -> OutputTakenOverError:
        """Return the error of a writer that another one has taken over from, or whose output somebody deleted."""
        if not writer_numbers(self.output):
            return OutputTakenOverError(
                f"{self.output}: the output was deleted while this process wrote to it, or the bucket that holds it"
            )
        return OutputTakenOverError(
            f"{self.output}: this process stood still and another one has taken over; what it finished is kept; "
            "run the same command again when the other is done"
        )


def describe(claim: LockRecord | None) -> str:
    """Name a writer for a message."""
    if claim is None:
        return "another process"
    return f"process {claim.pid} on {claim.host.partition('/')[0]}, since {claim.started}"


def _directory(output: str) -> str:
    return join(output, PRIVATE, "writers")


def claim_uri(output: str, number: int) -> str:
    """Name the claim of a writer."""
    return join(_directory(output), f"{number:06}.json")


def writer_numbers(output: str) -> list[int]:
    """Return the numbers of all writers that can be seen, ascending."""
    directory = _directory(output)
    try:
        entries = list_files(directory) if exists(directory) else []
    except RequestError:
        # The last file went between the two.
        entries = []
    names = (name_of(entry.uri).removesuffix(".json") for entry in entries)
    return sorted(int(name) for name in names if name.isdigit())


def read_raw(output: str, number: int) -> bytes | None:
    """Return the bytes of a claim; None where it is gone."""
    try:
        return read_bytes(claim_uri(output, number))
    except FileNotFoundError:
        return None


def last_beat(output: str, number: int) -> float | None:
    """Return when a claim was written last, by the clock of its store: Unix time; None where that is unknown."""
    try:
        entries = list_files(claim_uri(output, number))
    except (FileNotFoundError, RequestError):
        return None
    return entries[0].modified.timestamp() if entries and entries[0].modified is not None else None


def read_claim(output: str, number: int) -> LockRecord | None:
    """Return a claim; None where it is gone or cannot be read."""
    data = read_raw(output, number)
    return None if data is None else parse_claim(data)


def parse_claim(data: bytes) -> LockRecord | None:
    """Return a claim from its bytes; None where they are none."""
    try:
        content = json.loads(data)
        return LockRecord(**{name: content[name] for name in LockRecord.__dataclass_fields__ if name in content})
    except (ValueError, TypeError):
        return None
