"""READ rows with a key → READ rows with the image of that key, or the URI of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import ErrorCode, RowError, StoreFailure
from vqa_ray.readers.image_join.locations import Location, find_locations
from vqa_ray.readers.reread import reread
from vqa_ray.readers.source import Source
from vqa_ray.storage.redaction import without_url_secrets
from vqa_ray.storage.uri import redacted_uri


@dataclass(frozen=True)
class JoinImages:
    """Finds the image of each row by the row's `image_id`. Rows in error pass through.

    A row without a key, or whose key has no image, becomes an `image_missing` row. An image that its own table holds is
    read there, for the rows of this batch alone; a store that fails meanwhile raises an OSError.

    Attributes:
        uri: of the locations, see `vqa_ray.readers.image_join.locations`.
        images: of the image table, for messages.
        column: of the key in the rows, for messages.
        sources: name → input whose rows hold images, without its shards.
    """

    uri: str
    images: str
    column: str
    sources: Mapping[str, Source]

    def __call__(self, table: pa.Table) -> pa.Table:
        """Join a READ table with kept columns: the same rows, in order."""
        keys: list[str | None] = table["image_id"].to_pylist()
        rows: list[int] = schema.ok_rows(table).tolist()
        located = dict(find_locations(self.uri, {key for row in rows if (key := keys[row]) is not None}))
        held = dict(self._held({key: place for key, place in located.items() if place.uri is None}))
        failures: dict[int, RowError] = {}
        images: dict[int, dict[str, Any]] = {}
        for row in rows:
            key = keys[row]
            if key is None:
                failures[row] = RowError(ErrorCode.IMAGE_MISSING, f"column {self.column!r} is null: it names the image")
            elif key not in located:
                reason = f"no image {without_url_secrets(key)!r} in {redacted_uri(self.images)}"
                failures[row] = RowError(ErrorCode.IMAGE_MISSING, reason)
            else:
                found = held.get(key, {"image_uri": located[key].uri, "image": None})
                if isinstance(found, RowError):
                    failures[row] = found
                else:
                    images[row] = found
        for name in ("image_uri", "image"):
            field = schema.READ.field(name)
            cells = [images.get(row, {}).get(name) for row in range(table.num_rows)]
            table = table.set_column(table.schema.get_field_index(name), field, pa.array(cells, field.type))
        return schema.mark_failed(table, failures)

    def _held(self, located: Mapping[str, Location]) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        """Read the images that rows hold: the row, or the reason why it cannot be read, by key."""
        by_source: dict[str, list[str]] = {}
        for key, place in located.items():
            by_source.setdefault(place.source, []).append(key)
        for name, keys in by_source.items():
            yield from self._of_source(self.sources[name], keys, [located[key] for key in keys])

    def _of_source(
        self, source: Source, keys: Sequence[str], places: Sequence[Location]
    ) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        parts = dict.fromkeys(place.shard for place in places if place.shard is not None)
        shards = tuple(replace(part, index=index) for index, part in enumerate(parts))
        numbers = {part: index for index, part in enumerate(parts)}
        wanted: dict[int, list[str]] = {}
        for key, place in zip(keys, places, strict=True):
            assert place.shard is not None
            wanted.setdefault((numbers[place.shard] << schema.ROW_BITS) + place.row, []).append(key)
        for source_key, row in reread(replace(source, shards=shards), wanted):
            if isinstance(row, StoreFailure):
                # As where shards are read: tried again, and then the end of the run, but no fault of the rows.
                raise OSError(f"{redacted_uri(self.images)}: {row.message}")
            for key in wanted[source_key]:
                yield key, row
