"""Where the image of each key is: written once as sorted files, found in bounded memory. No image is copied."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vqa_ray.cache.directory import PRIVATE_SUFFIX, write_entries
from vqa_ray.cache.entries import Entry, file_table
from vqa_ray.cache.keys import KEY_BYTES
from vqa_ray.cache.lookup import Lookup
from vqa_ray.readers.source import Shard

_CONTEXT = "locations"
_KEYS_PER_FILE = 250_000
# Of each process that decodes.
_BUDGET_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Location:
    """The place of an image: a URI, or a row that holds its bytes.

    Attributes:
        uri: absolute; None for a row.
        source: names the input that the row is of; an index has several.
        shard: of the row.
        row: its number in the shard.
    """

    uri: str | None = None
    source: str = ""
    shard: Shard | None = None
    row: int = 0

    def to_json(self) -> str:
        """Write it."""
        if self.shard is None:
            return json.dumps({"uri": self.uri})
        part = self.shard
        return json.dumps({"in": [self.source, part.uri, part.start, part.stop, part.names, part.rows, self.row]})

    @classmethod
    def from_json(cls, text: str) -> Location:
        """Read what `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        if "uri" in content:
            return cls(content["uri"])
        source, uri, start, stop, names, rows, row = content["in"]
        return cls(None, source, Shard(0, uri, start, stop, tuple(names), rows), row)


class Keys(NamedTuple):
    """The keys of an image table.

    Attributes:
        distinct: their number.
        repeated: rows with the key of an earlier row, which are left out.
        example: the first key that is repeated; None for none.
    """

    distinct: int
    repeated: int
    example: str | None


def write_locations(uri: str, located: Iterable[tuple[str, Location]]) -> Keys:
    """Write the locations of keys below a directory; of a repeated key the first counts."""
    rows, seen = iter(located), list[npt.NDArray[np.uint64]]()
    count = repeated = 0
    example = None
    while part := [(key, _key(key), place) for key, place in islice(rows, _KEYS_PER_FILE)]:
        entries: dict[bytes, Entry] = {}
        hashes = np.array([int.from_bytes(hashed[:8]) for _, hashed, _ in part], np.uint64)
        is_old = np.any([np.isin(hashes, each) for each in seen], axis=0) if seen else np.zeros(len(part), bool)
        for (key, hashed, place), old in zip(part, is_old.tolist(), strict=True):
            if old or hashed in entries:
                repeated += 1
                example = example or key
            else:
                entries[hashed] = Entry(place.to_json(), 0.0)
        seen.append(np.unique(hashes))
        count += len(entries)
        if entries:
            write_entries(uri, _CONTEXT, file_table(_CONTEXT, entries), PRIVATE_SUFFIX)
    return Keys(count, repeated, example)


def find_locations(uri: str, keys: Iterable[str]) -> Iterator[tuple[str, Location]]:
    """Yield those of the keys that have a location, with it.

    Raises:
        OSError: a file of locations cannot be read.
    """
    wanted = {_key(key): key for key in keys}
    lookup = _lookup(uri)
    found = lookup.find(wanted)
    if lookup.problem is not None:
        raise OSError(lookup.problem)
    for key, entry in found.items():
        yield wanted[key], Location.from_json(entry.value)


@lru_cache(maxsize=1)
def _lookup(uri: str) -> Lookup:
    """Return the lookup of this process, which serves one task after the other."""
    return Lookup(uri, _CONTEXT, _BUDGET_BYTES)


def _key(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
