"""The names of everything in the directory of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.runs.directory import PRIVATE
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.uri import join, name_of

RECORD = "evaluation.json"
# Within the private directory.
REQUEST = "evaluate.json"


@dataclass(frozen=True, slots=True)
class EvaluationDirectory:
    """The directory of an evaluation: `evaluation.json`, `measures.parquet`, `rows/`, and `_vqa_ray/` with the rest.

    Attributes:
        output: its URI.
    """

    output: str

    @property
    def record(self) -> str:
        """The outcome, written last."""
        return join(self.output, RECORD)

    @property
    def measures(self) -> str:
        """The measures of the record as a table."""
        return join(self.output, "measures.parquet")

    @property
    def request(self) -> str:
        """The request, written before any work."""
        return join(self.output, PRIVATE, REQUEST)

    @property
    def work(self) -> str:
        """The joined sides in partitions, deleted at the end."""
        return join(self.output, PRIVATE, "work")

    @property
    def rows(self) -> str:
        """The directory of the judged rows."""
        return join(self.output, "rows")

    @property
    def run(self) -> str:
        """The run whose predictions the same command has made."""
        return join(self.output, "run")

    def rows_file(self, partition: int) -> str:
        """Return the file with the judged rows of a partition."""
        return join(self.rows, f"part-{partition:05d}.parquet")

    def rows_files(self) -> list[str]:
        """Return the files with the judged rows, sorted."""
        found = list_files(self.rows) if exists(self.rows) else []
        return [entry.uri for entry in found if entry.uri.endswith(".parquet")]

    def foreign_files(self, *, answered: bool) -> list[str]:
        """Return the files of the output that no evaluation has written.

        Args:
            answered: whether the run in it is of the evaluation.
        """
        try:
            found = list_files(self.output) if exists(self.output) else []
        except NotADirectoryError as error:
            raise RequestError(f"--output {self.output}: a part of the path is a file, not a directory") from error
        return [e.uri for e in found if not (answered and f"/{name_of(self.run)}/part-" in e.uri)]
