"""The input of a run that goes on: the files it began with, numbered as they were then, and what changed since."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from vqa_ray.errors import RequestError
from vqa_ray.format_names import Format
from vqa_ray.readers.changes.digest import content_digest, has_grown
from vqa_ray.readers.changes.drift import ChangedFile, Drift, named
from vqa_ray.readers.changes.snapshot import FORGOTTEN, GONE, InputSnapshot, KnownFile, input_place, time_us
from vqa_ray.readers.listing import Listing, with_kinds
from vqa_ray.readers.source import Source, request_error
from vqa_ray.readers.suffixes import kind_of
from vqa_ray.storage.canonical import canonical_uri, is_same_place, path_below
from vqa_ray.storage.filesystem import FileEntry

# A record tells whole seconds.
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The record of its input that an output holds.

    Attributes:
        output: where the rows go, which is never input.
        snapshot: the input as the run found it; None for a new run, and for one of an earlier version.
        uri, fingerprint, started: of the input, and when the run began (UTC, ISO 8601), where there is no snapshot.
        update: whether to take in what was added since.
    """

    output: str
    snapshot: InputSnapshot | None = None
    uri: str = ""
    fingerprint: str = ""
    started: str = ""
    update: bool = False

    def snapshot_for(self, uri: str) -> InputSnapshot | None:
        """Return the snapshot, if it is of this input."""
        known = self.snapshot
        return known if known is not None and known.place == input_place(uri) else None

    def without_output(self, listing: Listing) -> Listing:
        """Leave the output out of a listing of the input.

        Raises:
            RequestError: the output is the input, or nothing else lies there.
        """
        if canonical_uri(self.output) == canonical_uri(listing.uri.partition("#")[0]):
            raise RequestError(f"--output {self.output}: is the input itself; wanted another directory")
        inner = path_below(self.output, listing.root)
        if inner is None or listing.is_file:
            return listing
        entries = tuple(entry for entry in listing.entries if not f"{listing.relative(entry)}/".startswith(f"{inner}/"))
        if not entries:
            raise request_error(f"{listing.uri}: the input is empty: nothing lies there but the output {self.output}")
        return replace(listing, entries=entries)


def resume(
    listing: Listing, snapshot: InputSnapshot, opened: Callable[[Listing], Source], *, update: bool = False
) -> Source:
    """Open the files that a run began with, numbered as they were then.

    Args:
        listing: what is there now.
        snapshot: what the run began with.
        opened: opens files.
        update: whether to open the files that were added, too, for an update of the run.

    Raises:
        RequestError: none of the files is left, or what was added does not fit to them.
    """
    root = listing.root.rstrip("/")
    drift, kept = _compare(snapshot, listing, opened, is_strict=update)
    there = kept
    if snapshot.format == "images":
        # Each file is a row, also one that is gone: it becomes an error row.
        now = {entry.uri: entry for entry in kept}
        known = (file for file in snapshot.files if file.size_bytes >= 0 or f"{root}/{file.name}" in now)
        kept = [now.get(f"{root}/{file.name}") or file.below(root) for file in known]
    # Where all files have new names, what an update finds is all that can be opened.
    is_replaced = not kept and bool(drift.added) and (update or snapshot.format == "images")
    if snapshot.files and not kept and not is_replaced:
        raise request_error(
            f"{listing.uri}: the files that the run began with are gone{named(drift.gone)}; put them back, or use "
            "another --output for what is there now"
        )
    added = () if is_replaced else drift.added
    others = {entry.uri for entry in kept} | {f"{root}/{name}" for name in added}
    beside = (entry for entry in listing.entries if entry.uri not in others)
    # What is gone cannot be opened, nor is it left out.
    entries = sorted((*(there or kept), *beside), key=lambda entry: entry.uri)
    source = opened(replace(listing, entries=tuple(entries)))
    changed = [f"{root}/{each.name}" for each in drift.changed]
    current = {uri: tuple(shard for shard in source.shards if shard.uri == uri) for uri in changed}
    source = replace(
        source,
        shards=snapshot.shards_below(listing.root),
        files=tuple(kept),
        fingerprint=snapshot.fingerprint,
        drift=drift,
        current=current,
        retired=snapshot.retired,
    )
    return with_totals(_with_added(source, listing, opened) if update and drift.added else source)


def table_as_begun(listing: Listing, snapshot: InputSnapshot) -> Listing:
    """Return what a run began with of a table; its files lie there after they have left it.

    Args:
        listing: of the table now.
        snapshot: what the run began with.
    """
    entries = tuple(file.below(listing.root) for file in snapshot.files)
    # The version that has all fragments is the latest in which any was listed.
    versions = [int(shard.names[0]) for shard in snapshot.shards if shard.names]
    version = None if listing.lance_version is None else max(versions, default=listing.lance_version)
    return replace(listing, entries=entries, lance_version=version)


def pinned(source: Source, snapshot: InputSnapshot) -> Source:
    """Give a dataset on a hub the revision that the run began with."""
    shards = snapshot.shards_below(source.root)
    notes = source.notes
    if shards != source.shards and shards:
        notes = (*notes, f"{source.config.uri}: has changed since the run began, which goes on with {shards[0].uri}")
    return with_totals(replace(source, shards=shards, fingerprint=snapshot.fingerprint, notes=notes))


def recover(listing: Listing, earlier: EarlierRun, opened: Callable[[Listing], Source], source: Source) -> Source:
    """Find the files of a run of an earlier version, which kept a fingerprint of them and nothing more.

    Args:
        listing: what is there now.
        earlier: the run.
        opened: opens files.
        source: all that is there now.

    Returns:
        The source with that fingerprint; `source` where there is none.
    """
    if source.fingerprint == earlier.fingerprint or not is_same_place(earlier.uri, source.config.uri):
        return source
    for candidate in _candidates(listing, earlier.started):
        try:
            found = opened(candidate)
        except RequestError:
            continue
        if found.fingerprint == earlier.fingerprint:
            first = {entry.uri for entry in found.files}
            added = tuple(listing.relative(entry) for entry in source.files if entry.uri not in first)
            found = replace(found, drift=Drift(added=added))
            return _with_added(found, listing, opened) if earlier.update and added else found
    return source


def with_totals(source: Source) -> Source:
    """Add up the rows of the shards."""
    rows = [shard.rows for shard in source.shards]
    return replace(source, total_rows=None if None in rows else sum(count or 0 for count in rows))


def _with_added(source: Source, listing: Listing, opened: Callable[[Listing], Source]) -> Source:
    """Open the files that came later, for an update."""
    assert source.drift is not None
    root = listing.root.rstrip("/")
    added = {f"{root}/{name}" for name in source.drift.added}
    more = opened(replace(listing, entries=tuple(entry for entry in listing.entries if entry.uri in added)))
    for what in ("format", "passthrough", "column_map", "multi_question"):
        if getattr(more, what) != getattr(source, what):
            raise request_error(
                f"{listing.uri}: --update: the files that were added{named(source.drift.added)} do not fit to those of "
                f"the run: their {_WORDS[what]} differ; use another --output for them"
            )
    drift = replace(source.drift, added=(), taken_in=source.drift.added)
    return replace(source, added=more.shards, added_files=more.files, drift=drift)


_WORDS = {
    "format": "formats",
    "passthrough": "columns to keep",
    "column_map": "columns",
    "multi_question": "questions per row",
}


def _compare(
    snapshot: InputSnapshot, listing: Listing, opened: Callable[[Listing], Source], *, is_strict: bool
) -> tuple[Drift, list[FileEntry]]:
    """Return the difference, and the files of the run as they are now, in its order, without those that are gone.

    Where it is strict, an image file with a new time and no etag has changed.
    """
    listed = {listing.relative(entry): entry for entry in listing.entries}
    changed, grown, touched, gone, kept = [], [], [], [], []
    for known in snapshot.files:
        name = known.name
        if known.size_bytes == FORGOTTEN:
            continue
        now = listed.pop(name, None)
        if now is None:
            if known.size_bytes != GONE:
                gone.append(name)
            continue
        kept.append(now)
        if (known.size_bytes, known.etag, known.modified_us) == (now.size_bytes, now.etag, time_us(now)):
            continue
        if _is_same(snapshot, known, now, is_strict=is_strict):
            touched.append(name)
        elif _has_grown(snapshot, known, now):
            grown.append(ChangedFile(name, known.below(listing.root), now))
        else:
            changed.append(ChangedFile(name, known.below(listing.root), now))
    added = _added(listed.values(), snapshot.format, listing, opened) if listed else ()
    names = tuple(map(listing.relative, added))
    return Drift(names, tuple(changed), tuple(grown), tuple(touched), tuple(gone)), kept


def _added(
    entries: Collection[FileEntry], chosen: Format, listing: Listing, opened: Callable[[Listing], Source]
) -> Iterator[FileEntry]:
    """Yield the added files with rows that would be read beside those of the run; an empty table has none."""
    if chosen == "hf":
        # Files of other splits lie there, too; only opening tells.
        try:
            read = {entry.uri for entry in opened(listing).files}
        except RequestError:
            return
        yield from (entry for entry in entries if entry.uri in read)
        return
    known = with_kinds(replace(listing, entries=tuple(entries)), chosen)
    for entry in entries:
        if known.kind(entry) == chosen and (entry.size_bytes or chosen == "images"):
            yield entry


def _is_same(snapshot: InputSnapshot, known: KnownFile, now: FileEntry, *, is_strict: bool) -> bool:
    """Check whether a file with another time has the same contents, as far as samples of it show."""
    if known.size_bytes != now.size_bytes:
        return False
    if known.etag is not None and now.etag is not None:
        return known.etag == now.etag
    if known.digest is not None:
        return known.digest == content_digest(now.uri)
    # An image is one row: whatever it holds, its row is the same.
    return snapshot.format == "images" and not is_strict


def _has_grown(snapshot: InputSnapshot, known: KnownFile, now: FileEntry) -> bool:
    """Check whether lines were added to a text file, and nothing else."""
    if snapshot.format not in ("jsonl", "csv") or known.digest is None or now.uri.lower().endswith("gz"):
        return False
    return now.size_bytes > known.size_bytes and has_grown(now.uri, known.size_bytes, known.digest)


def _candidates(listing: Listing, started: str) -> Iterator[Listing]:
    """Yield listings as an earlier version may have made them: without names it left out or files that came later."""
    begun = datetime.fromisoformat(started.replace("Z", "+00:00")).astimezone(UTC) + _SECOND
    visible = tuple(entry for entry in listing.entries if not _was_left_out(listing.relative(entry)))
    for entries in (listing.entries, visible):
        early = tuple(entry for entry in entries if entry.modified is None or entry.modified <= begun)
        for chosen in (entries, early):
            if chosen and chosen != listing.entries:
                yield replace(listing, entries=chosen)


def _was_left_out(name: str) -> bool:
    """Check whether the first versions left a file out by its name: hidden, or of no known format."""
    return any(part.startswith(("_", ".")) for part in name.split("/")) or kind_of(name) is None
