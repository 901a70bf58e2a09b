"""The file of verdicts: JSON Lines, a line for each reviewed answer, as any reader of labelled rows takes them.

`answer` is the right answer, null where it is not known; `prediction` is what the run had said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from fsspec.implementations.local import LocalFileSystem

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import exists, fsspec_for, read_bytes

Verdict: TypeAlias = Literal["right", "wrong", "other"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_OPPOSITE = {"yes": "no", "no": "yes"}


@dataclass(frozen=True, slots=True)
class Label:
    """A line of the file.

    Attributes:
        item: what was reviewed: the `source_key` of the row and the number of the answer in it.
        row_id, image_id, question_id, image_uri: of the row.
        question: that was answered.
        attribute: of `tag`, its name; None for other runs.
        several: whether the attribute may have several values.
        answer: the right answer; None where it is not known, or nothing is right.
        prediction: the answer of the run; None where an attribute got no value.
        score: of the prediction.
        verdict: `right`, `wrong`, or `other`: wrong, and `answer` was typed.
        reviewer, time: who, and when: UTC, ISO 8601.
        inclusion_probability: of the item in the sample; 1 where labels were imported.
        sample: how it was drawn, in words; empty where labels were imported.
    """

    item: str
    row_id: int
    image_id: str | None
    question_id: str | None
    image_uri: str | None
    question: str
    attribute: str | None
    several: bool
    answer: str | None
    prediction: str | None
    score: float | None
    verdict: Verdict
    reviewer: str
    time: str
    inclusion_probability: float = 1.0
    sample: str = ""


def right_answer(verdict: Verdict, prediction: str | None, typed: str | None) -> str | None:
    """Return the right answer that follows from a verdict; None where it is not known.

    Args:
        verdict: of a person.
        prediction: that was judged; a wrong `yes` means `no`, a wrong `not mug` means `mug`.
        typed: with the verdict `other`.
    """
    if verdict == "right":
        return prediction
    if verdict == "other":
        return typed
    said = prediction or ""
    return _OPPOSITE.get(said) or (said.removeprefix("not ") if said.startswith("not ") else None)


class LabelFile:
    """Verdicts by item, in the order they were given; every change is on disk, whole, before a method returns.

    Args:
        uri: of the file.
        labels: that it holds.
    """

    def __init__(self, uri: str, labels: Iterable[Label] = ()) -> None:
        self.uri = uri
        self._labels = {label.item: label for label in labels}

    @classmethod
    def open(cls, uri: str) -> LabelFile:
        """Read the file; one that is not there yet holds nothing.

        Raises:
            RequestError: it holds something else.
        """
        return cls(uri, _read(uri) if exists(uri) else ())

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels.values())

    def get(self, item: str) -> Label | None:
        """Return the label of an item; None for none."""
        return self._labels.get(item)

    def add(self, *labels: Label) -> None:
        """Add labels; an earlier one of the same item is replaced.

        Raises:
            OSError: the store cannot be written, and nothing has changed.
        """
        given = {label.item: label for label in labels}
        self._write({item: label for item, label in self._labels.items() if item not in given} | given)

    def undo(self) -> Label | None:
        """Take back the last label, and return it; None where there is none.

        Raises:
            OSError: see `add`.
        """
        if not self._labels:
            return None
        *earlier, last = self._labels.items()
        self._write(dict(earlier))
        return last[1]

    def _write(self, labels: Mapping[str, Label]) -> None:
        lines = (json.dumps(asdict(label), ensure_ascii=False) + "\n" for label in labels.values())
        # Names may hold lone surrogates, which UTF-8 cannot encode.
        write_bytes_atomic(self.uri, "".join(lines).encode("utf-8", "replace"))
        self._labels = dict(labels)


@contextmanager
def only_writer(uri: str) -> Iterator[None]:
    """Hold a local label file while the block runs, so that no second review overwrites its verdicts.

    Raises:
        RequestError: another process holds it.
    """
    filesystem, path = fsspec_for(uri)
    if not isinstance(filesystem, LocalFileSystem):
        yield
        return
    import fcntl

    lock = Path(path).with_name(f".{Path(path).name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RequestError(
                f"--output {uri}: another review writes to it; end that one, or use another file"
            ) from error
        yield


def _read(uri: str) -> Iterator[Label]:
    names = {field.name for field in fields(Label)}
    for number, line in enumerate(read_bytes(uri).decode("utf-8").removesuffix("\n").split("\n"), 1):
        try:
            values = json.loads(line)
            label = Label(**{name: value for name, value in values.items() if name in names})
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError(
                f"--output {uri} line {number}: no verdict of vqa-ray review: {one_line(error)}"
            ) from error
        if label.verdict not in VERDICTS:
            raise RequestError(f"--output {uri} line {number}: verdict {label.verdict!r}; wanted {', '.join(VERDICTS)}")
        yield label
