"""Members of a tar as samples: which image goes with which question.

The WebDataset convention takes all before the first dot as the key, which makes one sample of `sku.001.jpeg` and
`sku.002.jpeg`. Here the key is all before the last dot; and `a.json` also speaks for `a.left.jpg` and `a.right.jpg`
unless they bring a sidecar of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vqa_ray.errors import RowError, one_line
from vqa_ray.readers.coerce import Unreadable, finite_or_text
from vqa_ray.readers.damage import DAMAGE
from vqa_ray.readers.formats.json_text import numbers_as_written
from vqa_ray.readers.suffixes import IMAGE_SUFFIXES
from vqa_ray.storage.local_files import name_as_text
from vqa_ray.strict_yaml import unique
from vqa_ray.text_encoding import decode_text

TEXT_SUFFIXES = frozenset(["answer", "caption", "cls", "id", "label", "prompt", "question", "text", "txt"])
# Members that share all before the first dot are held until it changes, but no more of them than this.
_HELD_MEMBERS = 32
_HELD_BYTES = 32 * 2**20


@dataclass(slots=True)
class Member:
    """A file in a tar.

    Attributes:
        key: its path without the last suffix.
        suffix: the last suffix, in lower case.
        data: the contents; empty when they were not read.
        problem: why they were not.
        holds_image: by its contents, where the suffix does not say it.
        is_deferred: see `is_deferred`.
        is_used: a row was made of it already.
        turn: how many members of this very name stood before it, as in a tar that was added to (`tar -r`).
    """

    key: str
    suffix: str
    data: bytes = b""
    problem: RowError | None = None
    holds_image: bool = False
    is_deferred: bool = False
    is_used: bool = False
    turn: int = 0

    @property
    def is_image(self) -> bool:
        """By its name."""
        return self.suffix in IMAGE_SUFFIXES

    @property
    def is_sidecar(self) -> bool:
        """Whether it gives columns of an image."""
        return self.suffix == "json" or self.suffix in TEXT_SUFFIXES

    @property
    def is_known(self) -> bool:
        """Whether it is an image or a sidecar."""
        return self.is_image or self.is_sidecar or self.holds_image

    @property
    def name(self) -> str:
        """The path."""
        return f"{self.key}.{self.suffix}" if self.suffix else self.key

    @property
    def stem(self) -> str:
        """The path up to the first dot of the file's name."""
        directory, mark, name = self.key.rpartition("/")
        return directory + mark + name.split(".")[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """One row: an image and the sidecars that describe it.

    Attributes:
        key: what the image and its sidecars are known by.
        part: for one of several images of the key, the rest of its name; else empty.
        image: None when the key has none.
        sidecars: the other members that speak of it.
    """

    key: str
    part: str
    image: Member | None
    sidecars: tuple[Member, ...] = ()

    @property
    def holds_images(self) -> bool:
        """Whether there are images among the sidecars."""
        return any(member.holds_image for member in self.sidecars)

    @property
    def image_id(self) -> str:
        """`key`, or `key/part`."""
        return self.with_part(self.key)

    def with_part(self, given: object) -> str:
        """Return an id of the key's as the id of this image."""
        return f"{given}/{self.part}" if self.part else str(given)

    def values(self, encoding: str | None = None) -> Mapping[str, object] | str:
        """Return the columns: those of the JSON sidecar, and each text sidecar under its suffix; or why there are none.

        Args:
            encoding: see `decode_text`.
        """
        columns: dict[str, object] = {}
        for member in self.sidecars:
            if member.problem:
                return f"{member.suffix}: {member.problem.message}"
            if member.suffix in TEXT_SUFFIXES:
                columns[member.suffix] = _text(member.data, encoding)
        for member in self.sidecars:
            if member.suffix == "json":
                try:
                    text = decode_text(member.data, encoding)
                    found = json.loads(text, object_pairs_hook=unique, parse_float=finite_or_text)
                except RecursionError:
                    return "json: nested too deeply"
                except ValueError as error:
                    return f"json: {one_line(error, 120)}"
                if not isinstance(found, dict):
                    return "json: not an object"
                columns |= found
        return columns

    def ids_as_written(
        self, values: Mapping[str, object], names: Iterable[str], encoding: str | None
    ) -> dict[str, str]:
        """Fractional numbers of the JSON sidecar that are ids; see `json_text.numbers_as_written`."""
        written: dict[str, str] = {}
        for member in self.sidecars:
            if member.suffix == "json":
                written |= numbers_as_written(decode_text(member.data, encoding), values, names)
        return written

    def size_bytes(self) -> int:
        """Return the bytes of all members."""
        return sum(len(member.data) for member in (self.image, *self.sidecars) if member)


def member_name(path: str) -> tuple[str, str]:
    """(key, suffix) of a member; a name without a suffix is the key."""
    readable = name_as_text(path).removeprefix("./")
    directory, mark, name = readable.rpartition("/")
    base, dot, suffix = name.rpartition(".")
    return (directory + mark + base, suffix.lower()) if dot and base else (readable, "")


def is_deferred(path: str) -> bool:
    """Check whether the rows of a member come after all others of its tar.

    Versions up to 0.1 left out names that begin with `_` or `.` and those without a suffix; rows are known by their
    numbers, which the rows of such members must not shift in runs that go on.
    """
    name = path.rpartition("/")[2]
    return name.startswith((".", "_")) or "." not in name


def samples_of(members: Iterable[Member]) -> Iterator[Sample]:
    """Group consecutive members. What was read when `members` breaks off is given before the exception passes on.

    A deferred member makes no sample of its own, and does not part those around it.
    """
    held: list[Member] = []
    before: Member | None = None
    try:
        for member in members:
            if member.is_deferred and not (held and held[0].stem == member.stem):
                before = member
                continue
            if held and held[0].stem != member.stem:
                yield from _settle(held, held)
                held = []
            if not held and before is not None and before.stem == member.stem:
                held.append(before)
            before = None
            member.turn = sum(one.key == member.key and one.suffix == member.suffix for one in held)
            held.append(member)
            if len(held) > _HELD_MEMBERS or sum(len(one.data) for one in held) > _HELD_BYTES:
                earlier = [one for one in held if one.turn < member.turn]
                yield from _settle(earlier, earlier)
                held = [one for one in held if one.turn >= member.turn]
                for one, turn in [(one, one.turn - member.turn) for one in held]:
                    one.turn = turn
                kin = [one for one in held if _speaks_for(one.key, member.key) or _speaks_for(member.key, one.key)]
                yield from _settle(held, [one for one in held if not any(one is other for other in kin)])
                yield from _settle(held, [one for one in kin if one.is_image and one.key != member.key])
                held = kin
    except DAMAGE:
        yield from _settle(held, held)
        raise
    yield from _settle(held, held)


def _settle(held: Sequence[Member], ready: Sequence[Member]) -> Iterator[Sample]:
    """Yield the samples of members that share a stem, as far as they are ready.

    Where a name occurs twice, the first image goes with the first sidecar and the second with the second.
    """
    for turn in sorted({member.turn for member in held}):
        yield from _settle_turn([member for member in held if member.turn == turn], ready)


def _settle_turn(held: Sequence[Member], ready: Sequence[Member]) -> Iterator[Sample]:
    settled = {id(member) for member in ready}
    images = [member for member in held if member.is_image]
    sidecars = [member for member in held if not member.is_image]
    spoken = {member.key for member in sidecars if member.is_sidecar}
    owners = {id(image): _owner(image.key, spoken, images) for image in images}
    sizes = Counter(owners.values())
    for image in images:
        if image.is_used or id(image) not in settled:
            continue
        owner = owners[id(image)]
        mine = [member for member in sidecars if member.key == owner]
        is_one_of_many = sizes[owner] > 1 or any(member.is_used for member in mine)
        rest = f"{image.key}.{image.suffix}"[len(owner) + 1 :]
        yield Sample(owner, rest if is_one_of_many else "", replace(image), tuple(mine))
        image.is_used, image.data = True, b""
        for member in mine:
            member.is_used = True
    known = {*owners.values(), *(image.key for image in images)}
    yield from _without_image([member for member in sidecars if id(member) in settled], known)


def _without_image(sidecars: Sequence[Member], known: Collection[str]) -> Iterator[Sample]:
    lonely: dict[str, list[Member]] = {}
    for member in sidecars:
        if not any(_speaks_for(key, member.key) for key in known):
            lonely.setdefault(member.key, []).append(member)
    for key, members in lonely.items():
        images = [member for member in members if member.holds_image]
        image = images[0] if len(images) == 1 else None
        if not all(member.is_deferred for member in members):
            yield Sample(key, "", image, tuple(member for member in members if member is not image))


def _owner(key: str, spoken: set[str], images: Sequence[Member]) -> str:
    """Return the key whose sidecars belong to an image: the longest that has any, else the shortest with an image."""
    with_sidecar = [other for other in spoken if _speaks_for(other, key)]
    if with_sidecar:
        return max(with_sidecar, key=len)
    return min((image.key for image in images if _speaks_for(image.key, key)), key=len)


def _speaks_for(key: str, other: str) -> bool:
    return other == key or other.startswith(f"{key}.")


def _text(data: bytes, encoding: str | None) -> object:
    try:
        return decode_text(data, encoding).rstrip("\r\n")
    except UnicodeDecodeError:
        return Unreadable("text that is not UTF-8")
