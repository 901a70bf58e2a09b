"""Notes on the labels of a training: which are learnt and which do not match, with examples. No torch."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

import numpy as np

from vqa_ray.errors import one_line
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.readers import Source
from vqa_ray.schema import ROW_BITS
from vqa_ray.text import canonical
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.vocabulary import answer_votes

_EXAMPLES = 3
_SHOWN_CHARACTERS = 40


def learnt_answers(rows: LabelledRows, vocabulary: AnswerVocabulary, min_count: int, *, chosen: bool) -> str:
    """Return a sentence on the vocabulary that was made of the rows, and what it leaves out.

    Args:
        rows: to train on.
        vocabulary: made of these rows.
        min_count: rows that an answer must have.
        chosen: whether the number of rows decided `min_count`, rather than the user.
    """
    counts, votes = rows.counts(), answer_votes(rows)
    known = {canonical(label) for label in vocabulary.labels}
    rare = [at for at in np.argsort(-votes, kind="stable").tolist() if votes[at] and counts.names[at] not in known]
    how = f"chosen for {len(rows):,} rows, --min-answer-count changes it" if chosen else "--min-answer-count"
    seen = "all that there are" if min_count == 1 else f"those of at least {min_count} rows"
    text = f"{len(vocabulary.labels):,} answers are learnt, {seen} ({how})"
    if not rare:
        return text
    examples = _listed([f"{_quoted(counts.spellings[at])} ({_rows(int(votes[at]))})" for at in rare])
    return f"{text}; {len(rare):,} rarer ones are left out: {examples}"


def unlabelled(rows: LabelledRows, what: str, where: Callable[[int], str]) -> str | None:
    """Return a sentence on the rows without any label, with examples; None where there are none.

    Args:
        rows: with their labels.
        what: "answer" or "caption".
        where: source_key → the name of a row.
    """
    empty = np.flatnonzero(rows.answers.value_lengths().to_numpy(zero_copy_only=False) == 0)
    if not len(empty):
        return None
    examples = _listed([where(int(key)) for key in rows.keys[empty[: _EXAMPLES + 1]]], len(empty))
    return f"{_rows(len(empty))} of {len(rows):,} have no {what} and are left out: {examples}"


def unmatched(rows: LabelledRows, vocabulary: AnswerVocabulary, then: str) -> str | None:
    """Return a sentence on the rows without an answer of the vocabulary; None where there are none.

    It names the most frequent of their answers.

    Args:
        rows: with their labels.
        vocabulary: the answers to learn.
        then: what becomes of such rows: "are not trained on".
    """
    counts = rows.counts()
    known = {canonical(label) for label in vocabulary.labels}
    is_known = np.array([name in known for name in counts.names], bool)
    has_known = np.zeros(len(rows), bool)
    has_known[counts.rows[is_known[counts.answers]]] = True
    majority = counts.majority()
    lacking = (majority >= 0) & ~has_known
    if not lacking.any():
        return None
    votes = np.bincount(majority[lacking], minlength=len(counts.names))
    frequent = [at for at in np.argsort(-votes, kind="stable").tolist() if votes[at]]
    examples = _listed([f"{_quoted(counts.spellings[at])} ({_rows(int(votes[at]))})" for at in frequent])
    return f"{_rows(int(lacking.sum()))} have no answer of the vocabulary and {then}: {examples}"


def unused(rows: LabelledRows, vocabulary: AnswerVocabulary) -> list[str]:
    """Return sentences on words of a given vocabulary that nothing teaches.

    No row has them, or they are another spelling of an earlier word.
    """
    forms = [canonical(label) for label in vocabulary.labels]
    present = set(rows.counts().names)
    absent = [label for label, form in zip(vocabulary.labels, forms, strict=True) if form not in present]
    first = {form: label for label, form in reversed(list(zip(vocabulary.labels, forms, strict=True)))}
    twins = [(label, first[form]) for label, form in zip(vocabulary.labels, forms, strict=True) if first[form] != label]
    notes = []
    if absent:
        notes.append(
            f"{len(absent):,} of {len(forms):,} answers of the vocabulary occur in no row: "
            f"{_listed([_quoted(label) for label in absent])}"
        )
    if twins:
        pairs = _listed([f"{_quoted(label)} as {_quoted(earlier)}" for label, earlier in twins])
        notes.append(f"{len(twins):,} answers of the vocabulary match an earlier one and are learnt as that: {pairs}")
    return notes


def row_name(source: Source, source_key: int) -> str:
    """Where a row of a source stands, for a person: the image file, or the file and the row's number from 1."""
    shard, row = source.shards[source_key >> ROW_BITS], source_key & (2**ROW_BITS - 1)
    if source.format == "images":
        return str(shard.names[row])
    part = f" from row group {shard.start}" if source.format == "parquet" and shard.start else ""
    return f"row {row + 1}{part} of {posixpath.basename(shard.uri)}"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _quoted(text: str) -> str:
    return repr(one_line(text, _SHOWN_CHARACTERS))


def _listed(texts: Sequence[str], total: int | None = None) -> str:
    more = ", …" if (len(texts) if total is None else total) > _EXAMPLES else ""
    return ", ".join(texts[:_EXAMPLES]) + more
