"""The files that servers and official scripts of benchmarks take: one answer for each question, failed rows too."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import RequestError

Row = Mapping[str, Any]
_LETTERS = "ABCDEFGHIJ"


class Form(NamedTuple):
    """The form of a submission.

    Attributes:
        shape: a JSON list, JSON lines, one JSON object of id → answer, a table with tabs, or a folder of text files.
        entry: of a row; for an object (id, answer), for a folder (name of the file, line).
        has_ids: whether it states the ids of questions; without them, the order of the questions counts.
        needs: the columns of a run that it reads beside those of every run.
    """

    shape: Literal["list", "lines", "object", "table", "folder"]
    entry: Callable[[Row], Any]
    has_ids: bool = True
    needs: tuple[str, ...] = ()


def _named(
    id_name: str, answer_name: str, id_type: Callable[[str], object] = str
) -> Callable[[Row], dict[str, object]]:
    """Make entries of a question's id and answer under these names."""
    return lambda row: {id_name: id_type(row["question_id"]), answer_name: row["answer"]}


def _mmbench(row: Row) -> dict[str, object]:
    choices = dict(zip(_LETTERS, row.get("choices") or (), strict=False))
    given = {name: row.get(name) for name in ("category", "l2_category", "split") if row.get(name) is not None}
    options = {letter: choices.get(letter) for letter in _LETTERS[: max(4, len(choices))]}
    return {
        "index": int(row["question_id"]),
        "question": row["question"],
        **options,
        "prediction": row["answer"],
        **given,
    }


def _mme(row: Row) -> tuple[str, str]:
    cells = (str(row["image_id"]).rpartition("/")[2], row["question"], row["truth"], row["answer"])
    return f"{row['category']}.txt", "\t".join(" ".join(str(cell or "").split()) for cell in cells)


FORMS: Mapping[str, Form] = {
    "vqa-v2": Form("list", _named("question_id", "answer", int)),
    "okvqa": Form("list", _named("question_id", "answer", int)),
    "textvqa": Form("list", _named("question_id", "answer", int)),
    "vizwiz": Form("list", _named("image", "answer")),
    "docvqa": Form("list", _named("questionId", "answer", int)),
    "gqa": Form("list", _named("questionId", "prediction")),
    "mmbench": Form("table", _mmbench),
    "seed-bench": Form("lines", _named("question_id", "prediction")),
    "pope": Form("lines", lambda row: {"question": row["question"], "answer": row["answer"]}, has_ids=False),
    "mme": Form("folder", _mme, has_ids=False, needs=("image_id", "category", "truth")),
    "mmmu": Form("object", lambda row: (row["question_id"], row["answer"])),
}
COLUMNS = ("question_id", "question", "answer", "status", "source_key", "question_index")
_OPTIONAL = ("choices", "category", "l2_category", "split")


def is_folder(name: str) -> bool:
    """Check whether a submission is a folder of files."""
    return FORMS[name].shape == "folder"


def submission_columns(name: str, schema: pa.Schema, run: str) -> list[str]:
    """Return the columns that a submission reads of a run.

    Raises:
        RequestError: it is no run of `answer` with one row per question, or lacks the truth that the form states.
    """
    needs = FORMS[name].needs
    if lacking := [name for name in COLUMNS[:-1] if name not in schema.names]:
        raise RequestError(
            f"{run}: --to submission takes a run of answer with one row per question; it has no column {lacking[0]!r}"
        )
    if lacking := [column for column in needs if column not in schema.names]:
        raise RequestError(
            f"{run}: --to submission:{name} states {lacking[0]!r}, which answer --input-format {name} keeps"
        )
    return [column for column in dict.fromkeys((*COLUMNS, *needs, *_OPTIONAL)) if column in schema.names]


def write_submission(name: str, rows: pa.Table, folder: Path, run: str) -> str:
    """Write a submission, the questions in the order of the input; the answer of a failed row is empty.

    Args:
        name: one of `FORMS`.
        rows: the columns of `submission_columns`.
        folder: to write the file `rows` into, or those of a folder; without ids, `rows-SPLIT` for each of several
            splits, as the official script takes them.
        run: for messages.

    Returns:
        A summary with counts.

    Raises:
        RequestError: a question has no id, one that the form does not take, or several answers.
    """
    form = FORMS[name]
    if form.has_ids:
        _check_ids(rows["question_id"], run)
    order = [(key, "ascending") for key in ("source_key", "question_index") if key in rows.column_names]
    ordered = rows.sort_by(order)
    parts = {"rows": ordered} if form.has_ids or form.shape == "folder" else _by_split(ordered)
    if form.shape == "folder":
        entries = _entries(form, ordered, name, run)
        for file, lines in groupby(sorted(entries, key=itemgetter(0)), key=itemgetter(0)):
            (folder / file).write_text("".join(f"{line}\n" for _, line in lines), "utf-8")
    else:
        for file, part in parts.items():
            with (folder / file).open("w", encoding="utf-8", newline="") as opened:
                _WRITERS[form.shape](_entries(form, part, name, run), opened)
    failed = rows["status"].to_pylist().count("error")
    files = f"; a file for each of its {len(parts)} splits" if parts.keys() - {"rows"} else ""
    return f"{rows.num_rows} answers for {name}, {failed} of them empty because the row failed{files}"


def _by_split(rows: pa.Table) -> dict[str, pa.Table]:
    """Part rows of several splits: name of a file → its rows."""
    splits = pc.unique(rows["split"]).to_pylist() if "split" in rows.column_names else []
    if len(splits) < 2:
        return {"rows": rows}
    masks = ((split, pc.equal(rows["split"], split) if split else pc.is_null(rows["split"])) for split in splits)
    return {"rows-" + re.sub(r"\W+", "_", split or "none"): rows.filter(mask) for split, mask in masks}


def _check_ids(ids: pa.ChunkedArray, run: str) -> None:
    if ids.null_count:
        raise RequestError(f"{run}: {_counted(ids.null_count)} no question_id, by which the form knows its questions")
    counts = ids.value_counts().to_pylist()
    if twice := next((each["values"] for each in counts if each["counts"] > 1), None):
        raise RequestError(
            f"{run}: question_id {twice!r} has several rows; the form takes one answer for each question"
        )


def _counted(rows: int) -> str:
    return "1 row has" if rows == 1 else f"{rows} rows have"


def _entries(form: Form, rows: pa.Table, name: str, run: str) -> Iterator[Any]:
    for batch in rows.to_batches(4096):
        for row in batch.to_pylist():
            try:
                yield form.entry({**row, "answer": row["answer"] or ""})
            except ValueError:
                reason = f"question_id {row['question_id']!r} is no whole number, as {name} has them"
                raise RequestError(f"{run}: {reason}") from None


def _write_list(entries: Iterable[Any], file: TextIO) -> None:
    file.write("[")
    for number, entry in enumerate(entries):
        file.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
    file.write("\n]\n")


def _write_lines(entries: Iterable[Any], file: TextIO) -> None:
    file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def _write_object(entries: Iterable[tuple[str, str]], file: TextIO) -> None:
    file.write(json.dumps(dict(entries), ensure_ascii=False, indent=1) + "\n")


def _write_table(entries: Iterable[dict[str, object]], file: TextIO) -> None:
    found = list(entries)
    names = list(dict.fromkeys(name for entry in found for name in entry))
    writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)


_WRITERS: Mapping[str, Callable[[Iterable[Any], TextIO], None]] = {
    "list": _write_list,
    "lines": _write_lines,
    "object": _write_object,
    "table": _write_table,
}
