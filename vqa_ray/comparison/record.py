"""`comparison.json` and the columns of `rows/*.parquet`: the directory that `compare` writes.

The first input is compared with each of the others: a `Pair` each. `rows/` holds the rows that differ between the two
inputs of a pair; `comparison.json` is written last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.uri import join

FORMAT: Final = 1
RECORD, ROWS = "comparison.json", "rows"
# The name of the drift of all answers.
ALL_QUESTIONS = "(all questions)"

# Rows that differ; the columns of `--by` follow. Of runs, truth and the scores of the answers are null.
FLIPPED = pa.schema(
    [
        # The number of the second input in `inputs`; the first is number 0 in every pair.
        pa.field("pair", pa.int32(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("key", "attribute", "image_id", "image_uri", "question", "truth")),
        *(
            pa.field(f"{side}_{name}", kind)
            for side in ("first", "second")
            for name, kind in (
                ("prediction", pa.string()),
                ("score", pa.float32()),
                ("outcome", pa.string()),
                ("error_code", pa.string()),
                ("confidence", pa.float32()),
            )
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Input:
    """One of the things compared.

    Attributes:
        name: short and unlike those of the others: the last part of its URI, or all of it.
        uri: without credentials.
        model: its reference.
        rows: number of rows.
        errors: error code → rows.
    """

    name: str
    uri: str
    model: str
    rows: int
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of which a column has one value."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of both inputs over the rows that both have.

    Attributes:
        name: of the measure, as the protocol names it.
        first, second: its values; null where nothing is below the line.
        difference: second − first, with the limits of its interval.
        p_value: of no difference, by the same method; null where it cannot be told.
        n, clusters: rows, and images among them.
        method: `analytic` or `bootstrap`.
        group: the rows that it is of; null for all.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    clusters: int
    method: Literal["analytic", "bootstrap"]
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class Wins:
    """How many rows each input judges better.

    Attributes:
        group: the rows that are counted; null for all.
        first, second: rows with the greater score in that input.
        ties: rows with equal scores.
    """

    group: Group | None
    first: int
    second: int
    ties: int


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's exact test of scores that are 0 or 1.

    Attributes:
        first_only, second_only: rows that only that input has right.
        p_value: of equally many of both kinds in truth.
    """

    first_only: int
    second_only: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Share:
    """How often a value occurs, as a share of 0..1 of the rows of each input that are not in error."""

    value: str
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class ScoreDrift:
    """How far the scores of an attribute lie apart.

    Attributes:
        value: Kolmogorov–Smirnov's distance, 0..1.
        noise: the distance that two samples of this size of the same scores exceed once in twenty times.
        edges: of the bins of the histograms, one more than bins.
        first, second: scores per bin.
    """

    value: float
    noise: float
    edges: list[float]
    first: list[int]
    second: list[int]


@dataclass(frozen=True, slots=True)
class Drift:
    """How far two runs lie apart in one attribute, question, or in their errors.

    Attributes:
        name: of the attribute, the question, or `error_code`.
        kind: what `name` is.
        value: Jensen–Shannon's distance of the shares (base 2), 0..1; of a `multi` attribute the greatest of its
            choices, each against its absence; of captions the distance of the scores.
        noise: the value that is exceeded once in twenty times where nothing but chance differs.
        first_rows, second_rows: rows of each input that are counted.
        both: rows that are in both.
        flipped: of these, the rows with another value.
        shares: the most frequent values first; the rest are summed up as `…`.
        scores: null where the attribute has none.
        exceeds: whether `value` is greater than `--max-drift` and than `noise`.
    """

    name: str
    kind: Literal["attribute", "question", "match", "caption", "error_code"]
    value: float
    noise: float
    first_rows: int
    second_rows: int
    both: int
    flipped: int
    shares: list[Share]
    scores: ScoreDrift | None = None
    exceeds: bool = False

    @property
    def is_beyond_chance(self) -> bool:
        """Whether chance alone rarely makes a drift as great."""
        return self.value > self.noise


@dataclass(frozen=True, slots=True)
class Pair:
    """The first input beside another.

    Attributes:
        second: the number of the other in `inputs`.
        both: rows that both have; all figures but `shares` and their drift are of these.
        only_first, only_second: rows that one of them lacks.
        only_first_keys, only_second_keys: a few of these, by key.
        flipped: rows that differ; they are in `rows/`.
        differences, wins, mcnemar: with truth. The first difference is that of the headline over all rows; `mcnemar` is
            null where a score is neither 0 nor 1.
        p_value, adjusted_p_value: of no difference in the headline; adjusted by Holm's method over all pairs.
        drift: without truth: that of all questions together, then what is beyond chance, the greatest first.
    """

    second: int
    both: int
    only_first: int
    only_second: int
    only_first_keys: list[str]
    only_second_keys: list[str]
    flipped: int
    differences: list[Difference] = field(default_factory=list)
    wins: list[Wins] = field(default_factory=list)
    mcnemar: McNemar | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    drift: list[Drift] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes:
        kind: `evaluations` (with truth) or `runs` (without).
        version: of vqa-ray.
        job: of the runs.
        inputs: at least two.
        pairs: one less.
        protocol, title, headline: of evaluations; empty for runs.
        truth: URI, without credentials; empty for runs.
        key: the column that joins the rows.
        by: the columns of the groups.
        level: of the intervals.
        seed, resamples: of the bootstrap, or of the simulated noise; of many rows there are fewer.
        max_drift: as asked for.
        notes: sentences on what could not be compared.
    """

    kind: Literal["evaluations", "runs"]
    version: str
    job: str
    inputs: list[Input]
    pairs: list[Pair]
    key: str
    by: list[str]
    seed: int
    resamples: int
    protocol: str = ""
    title: str = ""
    headline: str = ""
    truth: str = ""
    level: float = 0.95
    max_drift: float | None = None
    notes: list[str] = field(default_factory=list)
    format: Literal[1] = FORMAT

    def write(self, directory: str) -> None:
        """Write `comparison.json` into a directory, atomically."""
        write_bytes_atomic(join(directory, RECORD), _ADAPTER.dump_json(self, indent=1) + b"\n")

    @classmethod
    def read(cls, directory: str) -> Comparison:
        """Read `comparison.json` of a directory.

        Raises:
            RequestError: the directory holds no finished comparison of this format.
        """
        uri = join(directory, RECORD)
        try:
            return _ADAPTER.validate_json(read_bytes(uri))
        except FileNotFoundError as error:
            raise RequestError(f"{directory}: holds no finished comparison: {RECORD} is missing") from error
        except ValidationError as error:
            raise RequestError(f"{uri}: not a comparison of format {FORMAT}: {one_line(error, 200)}") from error


_ADAPTER = TypeAdapter(Comparison)
