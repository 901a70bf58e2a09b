"""The groups of a job: the column that is kept for them, and the file that is written when the rows are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import RequestError
from vqa_ray.grouping.collect import GROUPS_FILE, group_schema, write_groups
from vqa_ray.grouping.rule import Combiner, Rule
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.grouping_group import GroupingGroup
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.readers import Source
from vqa_ray.readers.source import parse_keep
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import written_name
from vqa_ray.storage.uri import join

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=RunSpec)


def with_group_kept(spec: S) -> S:
    """Return a spec that keeps the column to group by.

    Raises:
        RequestError: `--combine` is given and nothing to group by.
    """
    assert isinstance(spec, GroupingGroup)
    if spec.is_together and not isinstance(spec, AnswerSpec):
        raise RequestError("--combine together: is for `answer`, whose models may take several images of a question")
    if spec.group_by is None:
        if spec.combine is not None:
            raise RequestError(f"--combine {spec.combine}: combines groups; name the column of a group with --group-by")
        return spec
    is_kept = spec.group_by in parse_keep(spec.keep)[0]
    return spec if is_kept else spec.model_copy(update={"keep": [*spec.keep, spec.group_by]})


def check_together(spec: AnswerSpec, models: Sequence[Checkpoint]) -> dict[str, str]:
    """Check that the photos of a product can be asked about together; return what the record says of it.

    Raises:
        RequestError: a model takes one image, or another option does not go with it.
    """
    if not spec.is_together or spec.group_by is None:
        return {}
    option = "--combine together"
    for model in models:
        if not model.family.takes_several:
            raise RequestError(f"{option}: {model.label}: {model.family.display_name} takes one image of a question")
    if not spec.question:
        raise RequestError(f"{option}: asks the same of all photos of a product; give it with --question")
    for name, given in (("--update", spec.update), ("--images-from", spec.images_from is not None)):
        if given:
            raise RequestError(f"{name}: does not go with {option}")
    return {"together": spec.group_by}


def groups_writer(
    spec: GroupingGroup, source: Source, make: Callable[[Rule], Combiner]
) -> Callable[[Sequence[str]], None] | None:
    """Return the function that writes the groups of part files; None where a spec names none.

    Args:
        spec: of the command, after `with_group_kept`.
        source: its input, opened.
        make: makes the combiner of a rule.

    Raises:
        RequestError: the column cannot be grouped by.
    """
    if spec.group_by is None:
        return None
    assert isinstance(spec, RunSpec)
    theirs, ours = parse_keep(spec.keep)
    name = ours[theirs.index(spec.group_by)]
    column = next(part.with_name(name) for part in source.passthrough if written_name(part.name) == name)
    if spec.combine == "together":
        return partial(_warn_of_split, column.name)
    combiner = make(spec.combine or "vote")
    group_schema(column, combiner)
    return partial(_write, join(spec.output, GROUPS_FILE), column, combiner)


def _write(uri: str, column: pa.Field, combiner: Combiner, parts: Sequence[str]) -> None:
    counts = write_groups(uri, parts, column, combiner)
    failed = f", {counts.failed:,} without a result" if counts.failed else ""
    logger.info("%s groups of %s photos%s → %s", f"{counts.groups:,}", f"{counts.photos:,}", failed, uri)
    if counts.ungrouped:
        logger.warning("%s rows have no value to group by, and are in no group", f"{counts.ungrouped:,}")


def _warn_of_split(column: str, parts: Sequence[str]) -> None:
    """Tell of products whose photos did not follow each other in the input, so that they have several rows."""
    tables = [read_columns(uri, [column, "question_index"]) for uri in parts]
    first = [table.filter(pc.equal(table["question_index"], 0))[column].drop_null() for table in tables]
    counts = pa.chunked_array([chunk for each in first for chunk in each.chunks], tables[0].schema.field(column).type)
    split = sum(each["counts"] > 1 for each in counts.value_counts().to_pylist())
    if split:
        logger.warning(
            "%s products have several rows, because their photos do not follow each other in one file of the input; "
            "sort it by %s",
            f"{split:,}",
            column,
        )
