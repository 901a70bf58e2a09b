"""The card of a run, which says what its rows are, and what tells `datasets` where they are.

Beside the rows both have names that readers of a directory pass over; on a hub the card is the README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pyarrow as pa
import yaml

from vqa_ray.report.markdown import text

_MEANINGS: Mapping[str, str] = {
    "row_id": "of the input row",
    "image_id": "what the input calls the image",
    "image_uri": "where the image can be read again; null where the row brought its bytes only",
    "status": "`ok` or `error`",
    "error_code": "why there is no result",
    "error_message": "the same, in one line",
    "warning": "what happened on the way although there is a result",
    "attempt": "1, or the number of the retry that made the row",
    "source_key": "where the row was read: shard number × 2³² + row number in the shard",
    "question_index": "the place of the question among those of its input row, from 0",
    "finish_reason": "how a free text ended: `stop`, or `length` where it was cut",
    "tag_scores": "the score of every choice, also of those below their threshold",
}


def dataset_card(manifest: Mapping[str, Any], columns: pa.Schema, files: Sequence[str] = ("part-*.parquet",)) -> str:
    """The Markdown of a card; as README.md, its front matter is read by hubs and `datasets.load_dataset`.

    Args:
        manifest: of the run.
        columns: of its files.
        files: where the rows are, relative to the card.
    """
    front = {
        "license": "unknown",
        "tags": ["vqa-ray", str(manifest["job"])],
        **_configs(files, "default"),
    }
    model = manifest["model"]
    # In an index other files lie beside the rows, and older rows below it.
    whole = all("/" not in each for each in files)
    facts = [
        f"Made by `vqa-ray {manifest['job']}` with the model {text(model['reference'])}.",
        f"{manifest['rows']:,} rows: {manifest['ok']:,} ok, {manifest['failed']:,} failed.",
        f"A score is: {text(model['score_meaning'])}.",
        "The licence of the images and of the model is not known here.",
    ]
    errors = [f"- `{code}`: {count:,}" for code, count in manifest["errors"].items()]
    rows = [f"| {text(each.name)} | {text(each.type)} | {_MEANINGS.get(each.name, '')} |" for each in columns]
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# Results of vqa-ray {manifest['job']}",
        "",
        *facts,
        *(["", "Errors:", "", *errors] if errors else []),
        "",
        "## Columns",
        "",
        "| column | type | |",
        "|---|---|---|",
        *rows,
        "",
        "## Reading",
        "",
        "```python",
        "import datasets, pandas" if whole else "import datasets",
        'datasets.load_dataset("DIRECTORY")  # this directory',
        *(['pandas.read_parquet("DIRECTORY")'] if whole else []),
        "```",
        "",
        "```sql",
        f"SELECT * FROM 'DIRECTORY/{'*.parquet' if whole else '**/*.parquet'}' WHERE status = 'ok';  -- DuckDB",
        "```",
        "",
    ]
    return "\n".join(lines)


def data_files(files: Sequence[str] = ("part-*.parquet",)) -> str:
    """Return the YAML that tells `datasets.load_dataset` of a directory which of its files are rows.

    The configuration has another name each time: `datasets` 5 finds a directory in its cache by that name and the last
    part of its path, and would show the rows of another run, or those from before a retry.

    Args:
        files: where the rows are, relative to the directory.
    """
    return str(yaml.safe_dump(_configs(files, f"rows-{uuid4().hex[:12]}"), sort_keys=False, allow_unicode=True))


def _configs(files: Sequence[str], name: str) -> dict[str, object]:
    return {"configs": [{"config_name": name, "data_files": [{"split": "train", "path": list(files)}]}]}
