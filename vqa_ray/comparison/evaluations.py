"""The comparison of evaluations: differences of measures on the same rows of truth, wins, flipped rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.comparison.differences import PairedRows
from vqa_ray.comparison.flipped import FlippedRows
from vqa_ray.comparison.pairing import (
    JOINED,
    SHOWN_KEY,
    Overlap,
    PairedTables,
    Partitions,
    PreparedRows,
    joined_ids,
)
from vqa_ray.comparison.record import Pair
from vqa_ray.errors import RequestError, one_line
from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.evaluation.registry import protocol as protocol_named
from vqa_ray.evaluation.significance import holm
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.judging.measured_rows import MeasuredRows
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.judging.rows import MEASURED
from vqa_ray.readers.source import join_names
from vqa_ray.runs.part_files import read_columns, row_count


@dataclass(frozen=True, slots=True)
class EvaluationPairs:
    """Evaluations to be compared.

    Attributes:
        uris: of their directories.
        records: of them.
        by: the columns of the groups.
        seed: of the bootstrap.
    """

    uris: Sequence[str]
    records: Sequence[EvaluationRecord]
    by: Sequence[str]
    seed: int

    @property
    def job(self) -> str:
        """The job of the runs; empty where the predictions are a table of others."""
        return self.records[0].job or ""

    @property
    def key(self) -> str:
        """The column that joins the rows."""
        return self.records[0].key

    def prepared(self) -> list[PreparedRows]:
        """Return the rows of each evaluation that are in its measures.

        Raises:
            RequestError: an evaluation has other truth than the first, or a column of `by` is missing.
        """
        first = self.records[0]
        for uri, record in zip(self.uris, self.records, strict=True):
            for what, ours, theirs in (("--protocol", first.protocol, record.protocol), ("key", first.key, record.key)):
                if ours != theirs:
                    raise RequestError(
                        f"{uri}: was judged with {what} {theirs}, {self.uris[0]} with {ours}; evaluations can be "
                        f"compared when both were made with the same {what}"
                    )
            if lacking := [name for name in self.by if name not in record.by]:
                raise RequestError(
                    f"--by {lacking[0]}: {uri} is not broken down by it, but by {join_names(record.by)}; "
                    "evaluate with --by"
                )
        return [_prepared(uri) for uri in self.uris]

    def compare(self, partitions: Partitions, flipped: FlippedRows) -> tuple[list[Pair], list[str]]:
        """Compare the first with each of the others.

        Args:
            partitions: of `prepared`.
            flipped: takes the rows that differ.

        Returns:
            The pairs, and notes.

        Raises:
            RequestError: two of them share no rows, or differ in the truth of a row.
        """
        notes: list[str] = []
        pairs = [self._pair(partitions, number, flipped, notes) for number in range(1, len(self.uris))]
        known = [pair.p_value for pair in pairs if pair.p_value is not None]
        adjusted = iter(holm(known))
        return [
            pair if pair.p_value is None else replace(pair, adjusted_p_value=next(adjusted)) for pair in pairs
        ], notes

    def _pair(self, partitions: Partitions, second: int, flipped: FlippedRows, notes: list[str]) -> Pair:
        overlap, before = Overlap(), flipped.rows
        for paired in partitions.pairs(0, second):
            self._check_truth(paired, second)
            overlap.add(paired)
            differs = pc.not_equal(paired.first["score"], paired.second["score"])
            flipped.write(second, paired.first.filter(differs), paired.second.filter(differs))
        if not overlap.both:
            raise RequestError(
                f"{self.uris[second]}: shares no row with {self.uris[0]}: keys such as {_shown(overlap.keys[1])} and "
                f"{_shown(overlap.keys[0])}; compared are evaluations with the same truth"
            )
        protocols = [self._protocol(partitions.tables(side)) for side in (0, second)]
        is_same = protocols[0].prediction != "labels" or vars(protocols[0]) == vars(protocols[1])
        if not is_same:
            notes.append(
                f"{self.uris[second]} was judged with another set of tags than {self.uris[0]}: compared are the "
                "scores of rows alone"
            )
        sides = [
            MeasuredRows.of(
                (getattr(paired, side) for paired in partitions.pairs(0, second)), protocols[0].groups, self.by
            )
            for side in ("first", "second")
        ]
        rows = PairedRows(protocols[0], *sides)
        differences = rows.differences(self.seed) if is_same else [rows.mean_difference()]
        discordant = rows.mcnemar()
        is_exact = discordant is not None and rows.are_independent and differences[0].method == "analytic"
        return Pair(
            second=second,
            both=overlap.both,
            only_first=overlap.only[0],
            only_second=overlap.only[1],
            only_first_keys=overlap.keys[0],
            only_second_keys=overlap.keys[1],
            flipped=flipped.rows - before,
            differences=differences,
            wins=rows.wins(),
            mcnemar=discordant,
            p_value=discordant.p_value if discordant is not None and is_exact else differences[0].p_value,
        )

    def _check_truth(self, paired: PairedTables, second: int) -> None:
        one, other = (pc.fill_null(table["truth"], "") for table in (paired.first, paired.second))
        differs = pc.index(pc.not_equal(one, other), True).as_py()
        if differs >= 0:
            key = paired.first[SHOWN_KEY][differs].as_py()
            raise RequestError(
                f"{self.uris[second]}: its truth of {key!r} is {one_line(repr(other[differs].as_py()), 80)}, that of "
                f"{self.uris[0]} {one_line(repr(one[differs].as_py()), 80)}; compared are evaluations with the same "
                "truth"
            )

    def _protocol(self, tables: Iterable[pa.Table]) -> Protocol:
        """Make the protocol, with the tags of each attribute that the truth of an evaluation has."""
        protocol = protocol_named(self.records[0].protocol)
        if protocol.prediction == "labels":
            protocol.fit(_label_truths(tables))
        return protocol


def _prepared(uri: str) -> PreparedRows:
    files = EvaluationDirectory(uri).rows_files()
    return PreparedRows(uri, sum(map(row_count, files)), len(files), partial(_measured, files))


def _measured(files: Sequence[str], task: int) -> Iterator[pa.Table]:
    table = read_columns(files[task]).replace_schema_metadata(None)
    table = table.filter(pc.is_in(table["outcome"], pa.array(MEASURED)))
    ids = joined_ids(table["key"], table["attribute"])
    names = [SHOWN_KEY if name == "key" else name for name in table.column_names]
    yield table.rename_columns(names).append_column(JOINED, ids)


def _label_truths(tables: Iterable[pa.Table]) -> Iterator[dict[str, object]]:
    for table in tables:
        for row in table.group_by(["attribute", "truth"]).aggregate([]).to_pylist():
            yield {"attribute": row["attribute"], "labels": row["truth"].split("; ") if row["truth"] else []}


def _shown(keys: Sequence[str]) -> str:
    return ", ".join(one_line(repr(key), 60) for key in keys[:2]) or "none"
