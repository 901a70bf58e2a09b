"""The request to a reader and the opened input: its columns, its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import pyarrow as pa

from vqa_ray.errors import RequestError, one_line
from vqa_ray.format_names import BenchmarkFormat, FileFormat, Format
from vqa_ray.former_names import getter, warn_of_former_name
from vqa_ray.images.page_refs import PageRange
from vqa_ray.keys import NOTHING, Ranges
from vqa_ray.readers.changes.drift import Drift
from vqa_ray.row_text.config import TextConfig
from vqa_ray.row_text.hidden_columns import TEXT
from vqa_ray.storage.filesystem import FileEntry

FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
# Layouts of published benchmarks: see `vqa_ray.readers.benchmarks`.
BENCHMARKS: tuple[BenchmarkFormat, ...] = get_args(BenchmarkFormat)

# Soft targets as Graphcore/vqa and the Hugging Face guide to ViLT lay them out: answers, each with its weight.
LABEL = pa.struct([("ids", pa.list_(pa.string())), ("weights", pa.list_(pa.float64()))])

_NAMES_TOLD = 40


@dataclass(frozen=True, slots=True)
class InputConfig:
    """The request: what to read, and how.

    Attributes:
        uri: a file, a directory or prefix, or a pattern (`*`, `**`, `?`, `[…]`, `{a,b}`, `{000..127}`).
        format: one of `FORMATS` or `BENCHMARKS`; None guesses from the names and contents of the files.
        columns: our column → the input's own name for it, where they differ.
        keep: columns of the input that ride along to the output.
        keep_as: what each of `keep` is called in the output, in the same order; empty keeps their names.
        questions: questions for every image, instead of the input's own.
        needs_question: False when the job brings its own questions; those of the input are then ignored.
        needs_image: False for a table of truth: it may lack images, and its rows are then in error for that alone.
        labels: columns that say what is right, read after `keep` where the input has them. They are not written under
            these names, so one may be called `answer` or `status`. In formats without a schema they hold text, lists of
            text or `LABEL` structs.
        reads_images: False leaves embedded images where they are, as far as the format allows and they have names:
            rows then have none and are not in error for it.
        reads_context: whether a column of earlier questions and answers is read where there is one.
        reads_several: whether rows may bring a list of images each, in a column of its own.
        image_root: the directory or prefix that image references are relative to and must stay below; None takes the
            directory of the file that names them.
        allow_local: local directories that references may lead to, beside that of the input or `image_root`.
        encoding: of text files; None tells UTF-8 from UTF-16 by their first bytes.
        question_template: the wording of a benchmark's questions, with `{question}`, `{options}` and `{hint}`; None for
            the benchmark's own.
        text: the columns that the questions of the command name; None for none.
        group_by: the column of `keep` that `--group-by` names.
        together: whether neighbouring rows with one value of `group_by` are read as one, with all their images.
        conversations: whether rows are conversations, see `vqa_ray.readers.conversations`; `labels` then hold the
            answers of rows without a dialogue.
        pages: of each PDF document; None for all.
    """

    uri: str
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    keep_as: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    needs_question: bool = True
    needs_image: bool = True
    labels: tuple[str, ...] = ()
    reads_images: bool = True
    reads_context: bool = False
    reads_several: bool = False
    image_root: str | None = None
    allow_local: tuple[str, ...] = ()
    encoding: str | None = None
    question_template: str | None = None
    text: TextConfig | None = None
    group_by: str | None = None
    together: bool = False
    conversations: bool = False
    pages: PageRange | None = None

    @property
    def passthrough(self) -> tuple[str, ...]:
        """The columns that are read beside our own: `keep`, then `labels`."""
        return (*self.keep, *self.labels)

    def with_texts(self) -> InputConfig:
        """Keep the columns of `text` under hidden names, after those that are written."""
        columns = tuple(name for name in self.text.columns if f"{TEXT}{name}" not in self.keep_as) if self.text else ()
        hidden = tuple(f"{TEXT}{name}" for name in columns)
        return replace(self, keep=(*self.keep, *columns), keep_as=(*(self.keep_as or self.keep), *hidden))

    def kept_columns(self) -> list[tuple[str, str]]:
        """Give each column of `keep` and, for messages, the part of the request that names it."""
        by_question = "a question names {%s} (for the braces themselves: {{%s}})"
        return [
            (
                name,
                by_question % (name, name)
                if ours.startswith(TEXT)
                else f"{'--group-by' if name == self.group_by else '--keep'} {name}",
            )
            for name, ours in zip(self.keep, self.keep_as or self.keep, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The columns of the input by role; of several candidates, the first that is not null counts."""

    image: tuple[str, ...] = ()
    image_uri: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    question: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    conversation: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    image_id: tuple[str, ...] = ()
    question_id: tuple[str, ...] = ()
    row_id: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """All columns named, each once."""
        return tuple(dict.fromkeys(name for role in self.__slots__ for name in getattr(self, role)))


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the input that one task reads.

    Attributes:
        index: its place in the sorted list of shards; the upper half of its rows' `source_key`.
        uri: the file; for `images` the prefix; for a dataset on a hub its name and revision.
        start, stop: row groups (parquet), rows (vqa-v2) or this shard of so many (hub); unused otherwise.
        names: for `images` the files below `uri`; for vqa-v2 the image folder, the pattern of image names and the
            annotation file; for a dataset on a hub its configuration and split.
        rows: how many rows it has when undamaged; None where only reading tells.
        size_bytes: how much is read, about.
    """

    index: int
    uri: str
    start: int = 0
    stop: int = 0
    names: tuple[str, ...] = ()
    rows: int | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OpenedInput:
    """The result of a format's `open_…`.

    `revision` goes into the fingerprint beside the listing; `columns` are the names of the input's columns, as far as
    they are known; `brought` are the columns that ride along unasked, whose fields follow those of `config.keep`.
    """

    shards: tuple[Shard, ...]
    column_map: ColumnMap
    passthrough: tuple[pa.Field, ...] = ()
    notes: tuple[str, ...] = ()
    revision: str = ""
    columns: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """An opened input.

    Attributes:
        config: the request; of its `labels`, those that the input has.
        format: one of `FORMATS` or `BENCHMARKS`.
        root: the directory or prefix that ids and relative references start from.
        shards: sorted; `shards[i].index == i`. Empty in `for_workers()`.
        passthrough: the fields of `config.passthrough`, in that order, under the names that they have in READ tables.
        column_map: where the columns are.
        total_rows: the rows of all shards when undamaged, or None where only reading tells.
        fingerprint: changes when a file is added, removed, resized or rewritten; the request is not part of it.
        multi_question: whether a row brings several questions, and so gets `results` instead of one answer.
        notes: what a person should know: files that were left out, for instance.
        columns: the names of the input's columns, as far as they are known; for messages.
        files: those that are read, sorted; empty for a dataset on a hub, and in `for_workers()`.
        drift: what has changed since the run began that goes on with it; None for a new run.
        current: file that has changed → its shards as they would be now.
        added, added_files: shards and files that came later; empty unless an update of the run is wanted.
        retired: int64 (R, 2) ranges of source_keys that updates of the run have done away with.
    """

    config: InputConfig
    format: Format
    root: str
    shards: tuple[Shard, ...]
    passthrough: tuple[pa.Field, ...]
    column_map: ColumnMap
    total_rows: int | None
    fingerprint: str
    multi_question: bool
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    files: tuple[FileEntry, ...] = ()
    drift: Drift | None = None
    current: Mapping[str, tuple[Shard, ...]] = field(default_factory=dict)
    added: tuple[Shard, ...] = ()
    added_files: tuple[FileEntry, ...] = ()
    retired: Ranges = field(default_factory=NOTHING.copy, compare=False)

    def for_workers(self) -> Source:
        """Return the same without the list of shards: all that `read_shard` needs, and small to send."""
        rest = replace(self, shards=(), columns=(), files=(), drift=None, current={})
        return replace(rest, added=(), added_files=(), retired=NOTHING)

    def without_images(self) -> Source:
        """Return the same rows under the same keys, but embedded images stay where they are."""
        return replace(self, config=replace(self.config, reads_images=False))

    def with_images(self) -> Source:
        """Return the same rows under the same keys, with embedded images."""
        return replace(self, config=replace(self.config, reads_images=True))

    @property
    def kept(self) -> tuple[pa.Field, ...]:
        """The name of `passthrough` in release 0.1."""
        warn_of_former_name("Source.kept", "Source.passthrough")
        return self.passthrough

    def passthrough_columns(self) -> tuple[pa.Field, ...]:
        """`passthrough` under the input's own names."""
        return tuple(part.with_name(name) for part, name in zip(self.passthrough, self.config.passthrough, strict=True))

    def with_labels(self, labels: Sequence[str]) -> Source:
        """Return the same rows under the same keys, with only these of its label columns."""
        count = len(self.config.keep)
        found = zip(self.config.labels, self.passthrough[count:], strict=True)
        kept = {name: part for name, part in found if name in labels}
        passthrough = (*self.passthrough[:count], *kept.values())
        return replace(self, config=replace(self.config, labels=tuple(kept)), passthrough=passthrough)


def parse_keep(given: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`NAME` and `NEW=NAME` as (names in the input, names in the output).

    Raises:
        RequestError: a name is empty, or two columns would have the same name in the output.
    """
    theirs, ours = [], []
    for part in given:
        new, mark, name = part.partition("=")
        if not new or (mark and not name):
            raise request_error(f"--keep {part}: expected NAME, or NEW=NAME for a column NAME that is to be called NEW")
        theirs.append(name if mark else new)
        ours.append(new)
    for name in ours:
        if name.startswith(TEXT):
            raise request_error(
                f"--keep: no column of the output may begin with {TEXT}, as {name!r} does; name it anew"
            )
        if ours.count(name) > 1:
            raise request_error(f"--keep: {ours.count(name)} columns would be called {name!r} in the output")
    return tuple(theirs), tuple(ours)


def join_names(names: Sequence[str]) -> str:
    """Names for a message: sorted as they came, each once, cut when there are very many."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - _NAMES_TOLD} more" if len(unique) > _NAMES_TOLD else ""
    return (", ".join(unique[:_NAMES_TOLD]) or "none") + more


def request_error(message: str) -> RequestError:
    """Return a `RequestError` of one line, of up to 1,000 characters: lists of columns are worth reading."""
    return RequestError(one_line(message, 1000))


# Names that scripts of release 0.1 import from here.
__getattr__ = getter(__name__)
