"""The request of a run, and its comparison with that of a later command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.runs.differences import differences
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Written before any work; a later command on the same output must agree with `command`, `model` and `input`.

    Attributes:
        run_id: of this run, kept when it is resumed.
        job: `answer`, `tag`, `caption` or `retrieve`.
        started: UTC, ISO 8601.
        command: what decides the answers: the spec without placement and logging.
        model: reference, family, fingerprint, score_meaning.
        input: uri, place, format, fingerprint, shards, rows (None when unknown), several.
        versions: of the packages that matter.
        columns_version: of the columns of its rows, see `vqa_ray.schema`; 1 where a record from before tells none.
    """

    run_id: str
    job: str
    started: str
    command: Mapping[str, Any]
    model: Mapping[str, Any]
    input: Mapping[str, Any]
    versions: Mapping[str, str]
    columns_version: int = 1

    @property
    def spec_hash(self) -> str:
        """16 hexadecimal digits over the command."""
        text = json.dumps([self.job, self.command], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def agreeing_in(self, entries: Collection[str], other: RunRecord) -> RunRecord:
        """Return the record with these entries of the command as another has them."""
        rest = {name: value for name, value in self.command.items() if name not in entries}
        return replace(self, command=rest | {name: other.command[name] for name in entries if name in other.command})

    def differences(self, other: RunRecord) -> list[str]:
        """Describe the differences from the request `other`; see `vqa_ray.runs.differences`."""
        return differences(self._identity(), other._identity(), self.input, other.input)

    def _identity(self) -> dict[str, Any]:
        model = {"model": self.model.get("reference"), "model_fingerprint": self.model["fingerprint"]}
        return {"job": self.job, **self.command, **model}

    def write(self, uri: str) -> None:
        """Write it as JSON, atomically."""
        content = {"format": FORMAT, "spec_hash": self.spec_hash, **asdict(self)}
        write_bytes_atomic(uri, to_json(content))

    @classmethod
    def read(cls, uri: str) -> RunRecord | None:
        """Return the record at `uri`, or None when there is none.

        Raises:
            RequestError: it is not a record of this format.
        """
        try:
            data = read_bytes(uri)
        except FileNotFoundError:
            return None
        try:
            content = json.loads(data)
        except ValueError as error:
            raise RequestError(f"{uri}: not JSON: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise RequestError(f"{uri}: format {found!r} of another version; this one reads {FORMAT}")
        return cls(**{name: content[name] for name in cls.__dataclass_fields__ if name in content})


def to_json(content: Mapping[str, Any]) -> bytes:
    """Readable JSON with a final newline."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
